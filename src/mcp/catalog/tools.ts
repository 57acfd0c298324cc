import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { CallToolResult, Tool } from '@modelcontextprotocol/server'
import { Compile } from 'typebox/compile'
import type { Validator } from 'typebox/compile'
import { ToolError } from '../../define/tool.ts'
import type { ToolDefinition, ToolProgress } from '../../define/tool.ts'
import type { RequestContext } from '../../define/context.ts'
import type { Principal } from '../../tokens/principal.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import { mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import { HandlerError, execute, logFailure } from '../handlers/execute.ts'
import type { Run } from '../handlers/execute.ts'
import { describeValidationError } from './validation-message.ts'
import { createListing, plain } from './listing.ts'
import type { Listing } from './listing.ts'
import { readHeaderParams } from './param-headers.ts'
import type { HeaderParam } from './param-headers.ts'
import { render } from './tool-result.ts'

/** The tools of this server: checked and compiled once. */
export interface ToolCatalog {
  /** As tools/list answers them. */
  readonly listing: Listing<Tool>
  /** Whatever its policy says. */
  find (name: string): CompiledTool | undefined
  /**
   * Runs a tool. What goes wrong inside a tool is a result with `isError` (MCP tools, error handling).
   * @throws (or rejects with) ProtocolError for a tool that does not exist for this caller; InputRequiredError; the reason for which the call was aborted
   */
  call (name: string, input: unknown, principal: Principal | undefined, run: Run): MaybePromise<CallToolResult>
}

export interface CompiledTool {
  definition: ToolDefinition
  input: Validator
  output: Validator | undefined
  /** Arguments that headers repeat (`x-mcp-header`). */
  mirrored: readonly HeaderParam[]
}

/** @throws Error for a definition that cannot be served: a bad or doubled name */
export function createToolCatalog (definitions: readonly ToolDefinition[], policies: PolicyEvaluator): ToolCatalog {
  const tools = new Map<string, CompiledTool>()
  for (const definition of definitions) {
    checkName('Tool', definition.name)
    if (tools.has(definition.name)) throw new Error(`Two tools are called ${definition.name}`)
    tools.set(definition.name, {
      definition,
      input: Compile(definition.input),
      output: definition.output && Compile(definition.output),
      mirrored: readHeaderParams(definition)
    })
  }
  const listing = createListing([...tools.values()].map(({ definition }) => ({ name: definition.name, item: describe(definition), policy: definition })), policies)

  return {
    listing,
    find: (name) => tools.get(name),
    call (name, input, principal, run) {
      const tool = tools.get(name)
      if (tool === undefined || !policies.isAllowed(tool.definition, principal)) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${name}`)
      if (!tool.input.Check(input)) return failure(`The arguments of ${name} are not valid: ${describeValidationError(tool.input, input)}`)
      return attempt(tool, input, run)
    }
  }
}

/** @throws Error */
export function checkName (what: string, name: string): void {
  if (!/^[\w.-]{1,128}$/.test(name)) throw new Error(`${what} name ${JSON.stringify(name)} must be 1 to 128 of letters, digits, _ - and .`)
}

function attempt (tool: CompiledTool, input: unknown, run: Run): MaybePromise<CallToolResult> {
  const { name, timeoutSeconds } = tool.definition
  return mapMaybe(() => execute(name, timeoutSeconds, run, (context) => begin(tool.definition, input, context)), (output) => {
    try {
      return render(output, tool)
    } catch (err) {
      return failure(logFailure(err, name, run.log).message)
    }
  }, (err) => {
    if (err instanceof ToolError || err instanceof HandlerError) return failure(err.message)
    throw err
  })
}

function begin (definition: ToolDefinition, input: unknown, context: RequestContext): unknown {
  const output: unknown = definition.handler(input as never, context)
  return isGenerator(output) ? drive(output, context) : output
}

/** Tells of what a generator yields; what it returns is the result. */
async function drive (generator: AsyncGenerator<ToolProgress, unknown, void>, context: RequestContext): Promise<unknown> {
  for (;;) {
    const { done, value } = await generator.next()
    if (done === true) return value
    if (context.signal.aborted) return await generator.return(undefined)
    await context.progress(value.progress, value.total, value.message)
  }
}

function isGenerator (value: unknown): value is AsyncGenerator<ToolProgress, unknown, void> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value && typeof (value as { next?: unknown }).next === 'function'
}

function describe ({ name, title, description, input, output, annotations, icons, _meta }: ToolDefinition): Tool {
  // A TypeBox schema is JSON Schema; of what its author wrote into it nothing is lost.
  return plain({ name, title, description, icons, inputSchema: input, outputSchema: output, annotations, _meta })
}

function failure (text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true }
}
