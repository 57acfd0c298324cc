import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { CallToolResult, InputRequiredResult, Tool } from '@modelcontextprotocol/server'
import { mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import type { RequestContext, RequestLog } from '../../define/context.ts'
import { listHintOf } from '../../define/definition.ts'
import type { Definition } from '../../define/definition.ts'
import type { Policy } from '../../define/policy.ts'
import { ToolError } from '../../define/tool.ts'
import type { ToolDefinition, ToolProgress } from '../../define/tool.ts'
import { UpstreamError } from '../../define/upstream.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import type { Principal } from '../../tokens/principal.ts'
import { HandlerError, execute, logFailure } from '../handlers/execute.ts'
import type { RunContext } from '../handlers/execute.ts'
import { toProtocolError } from '../handlers/protocol-errors.ts'
import { checkSize } from '../handlers/result-json.ts'
import { compileDefinitions } from './compile-definitions.ts'
import { compileTool } from './compiled-tool.ts'
import type { CompiledTool } from './compiled-tool.ts'
import { copyJson, createListing } from './listing.ts'
import { toCallToolResult } from './tool-result.ts'
import { describeValidationError } from '../../json/validation-message.ts'

export type ToolCatalog = ReturnType<typeof createToolCatalog>

/**
 * The server's tools. Only a tool that the caller may use is found.
 *
 * @throws DefinitionError for a tool that cannot be served
 */
export function createToolCatalog (definitions: readonly ToolDefinition[], policies: PolicyEvaluator) {
  const tools = compileDefinitions(definitions, ({ name }) => name, compileTool)

  /** Returns the tool, or undefined if the caller may not use it. */
  function find (name: string, principal: Principal | undefined): CompiledTool | undefined {
    const tool = tools.get(name)
    return tool !== undefined && policies.isAllowed(tool.definition, principal) ? tool : undefined
  }

  return {
    /** The tools as tools/list returns them. */
    listing: createListing<Tool>(
      definitions.map((definition) => ({
        name: definition.name, item: toTool(definition), policy: definition, hint: listHintOf(definition)
      })),
      policies
    ),

    find,

    /** Returns the policy of a tool, whoever may use it. */
    policyOf: (name: string): Policy | undefined => tools.get(name)?.definition,

    /**
     * Finds and calls a tool (see callTool).
     *
     * @throws ProtocolError if the caller may not use it
     */
    call (
      name: string,
      input: unknown,
      principal: Principal | undefined,
      context: RunContext
    ): MaybePromise<CallToolResult> {
      const tool = find(name, principal)
      if (tool === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${name}`)
      return callTool(tool, input, context)
    },

    /**
     * Returns a result whose structured content is a copy. The getters and toJSON of an author run here, where their
     * failure can be answered: the SDK answers nothing when it cannot write a result.
     */
    copyForSending<Result extends CallToolResult | InputRequiredResult> (
      name: string, result: Result, log: RequestLog
    ): Result | CallToolResult {
      if (!('structuredContent' in result)) return result
      try {
        return { ...result, structuredContent: copyJson(result.structuredContent) }
      } catch (err) {
        return errorResult(logFailure(err, name, tools.get(name)?.definition as Definition, log).message)
      }
    }
  }
}

/**
 * Calls a tool that the caller may use. The result comes without a promise if the handler returns without one.
 *
 * Invalid arguments and a handler's errors become a result with `isError` (MCP tools, error handling).
 *
 * @throws (or rejects with) InputRequiredError; ProtocolError of a server behind this one; the reason for which the
 * call was aborted
 */
export function callTool (tool: CompiledTool, input: unknown, context: RunContext): MaybePromise<CallToolResult> {
  const { definition } = tool
  const { name } = definition
  if (!tool.input.Check(input)) {
    return errorResult(`The arguments of ${name} are not valid: ${describeValidationError(tool.input, input)}`)
  }
  return mapMaybe(
    () => execute(name, definition, context, () => runHandler(definition, input, context)),
    (output) => withFailures(() => toCallToolResult(output, tool, context.maxResultBytes), definition, context),
    (err) => {
      if (err instanceof HandlerError) return errorResult(err.message)
      if (err instanceof ToolError) return toErrorResult(err, tool, context)
      if (err instanceof UpstreamError) throw toProtocolError(err)
      throw err
    }
  )
}

function toErrorResult ({ message }: ToolError, { definition }: CompiledTool, context: RunContext): CallToolResult {
  return withFailures(() => {
    checkSize(message, context.maxResultBytes)
    return errorResult(message)
  }, definition, context)
}

/** Runs a conversion of what a handler returned. Its failure, which is the author's, becomes a result as well. */
function withFailures (
  convert: () => CallToolResult,
  definition: ToolDefinition,
  { log }: RunContext
): CallToolResult {
  try {
    return convert()
  } catch (err) {
    return errorResult(logFailure(err, definition.name, definition, log).message)
  }
}

function runHandler (definition: ToolDefinition, input: unknown, context: RequestContext): unknown {
  const output: unknown = definition.handler(input as never, context)
  return isGenerator(output) ? runGenerator(output, context) : output
}

/** Sends each yielded value as progress and returns the generator's return value. */
async function runGenerator (
  generator: AsyncGenerator<ToolProgress, unknown, void>,
  context: RequestContext
): Promise<unknown> {
  for (;;) {
    const { done, value } = await generator.next()
    if (done === true) return value
    if (context.signal.aborted) return await generator.return(undefined)
    await context.progress(value.progress, value.total, value.message)
  }
}

function isGenerator (value: unknown): value is AsyncGenerator<ToolProgress, unknown, void> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value &&
    typeof (value as { next?: unknown }).next === 'function'
}

function toTool (definition: ToolDefinition): Tool {
  const { name, title, description, input, output, annotations, icons, _meta } = definition
  // A TypeBox schema is JSON Schema already; everything its author wrote into it is kept.
  return copyJson({ name, title, description, icons, inputSchema: input, outputSchema: output, annotations, _meta })
}

function errorResult (text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true }
}
