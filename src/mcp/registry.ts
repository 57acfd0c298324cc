import { randomBytes } from 'node:crypto'
import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { CallToolResult, Tool } from '@modelcontextprotocol/server'
import { Compile } from 'typebox/compile'
import type { Validator } from 'typebox/compile'
import { InputRequiredError } from './client-input.ts'
import { TimeoutError, startDeadline } from './deadline.ts'
import type { Deadline } from './deadline.ts'
import { ToolError } from './define.ts'
import type { ToolContext, ToolDefinition, ToolLog } from './define.ts'

/** The tools of this server: listed, checked and compiled once at start. */
export interface ToolRegistry {
  /** As tools/list answers them, in the order of their names. Frozen: it is shared by all requests. */
  readonly listed: readonly Tool[]
  /**
   * Runs a tool. What goes wrong inside a tool is a result with `isError` (MCP tools, error handling).
   * @throws ProtocolError for a tool that does not exist; InputRequiredError; the reason for which the call was aborted
   */
  call (name: string, input: unknown, run: ToolRun): Promise<CallToolResult>
}

export interface ToolRun {
  log: ToolLog
  /** For tools that declare none. */
  timeoutSeconds: number
  /** @param deadline that of this call; its signal is the tool's */
  createContext (deadline: Deadline): ToolContext
}

interface CompiledTool {
  definition: ToolDefinition
  input: Validator
  output: Validator | undefined
}

/** @throws Error for a definition that cannot be served: a bad or doubled name */
export function createToolRegistry (definitions: readonly ToolDefinition[]): ToolRegistry {
  const tools = new Map<string, CompiledTool>()
  for (const definition of [...definitions].sort((a, b) => a.name < b.name ? -1 : 1)) {
    if (!/^[\w.-]{1,128}$/.test(definition.name)) throw new Error(`Tool name ${JSON.stringify(definition.name)} must be 1 to 128 of letters, digits, _ - and .`)
    if (tools.has(definition.name)) throw new Error(`Two tools are called ${definition.name}`)
    tools.set(definition.name, {
      definition,
      input: Compile(definition.input),
      output: definition.output && Compile(definition.output)
    })
  }
  const listed = Object.freeze([...tools.values()].map(({ definition }) => deepFreeze(describe(definition))))

  return {
    listed,
    async call (name, input, run) {
      const tool = tools.get(name)
      if (tool === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${name}`)
      if (!tool.input.Check(input)) return failure(`The arguments of ${name} are not valid: ${explain(tool.input, input)}`)
      const deadline = startDeadline(tool.definition.timeoutSeconds ?? run.timeoutSeconds)
      return await attempt(tool, input, run, deadline).finally(() => { deadline.clear() })
    }
  }
}

async function attempt (tool: CompiledTool, input: unknown, { log, createContext }: ToolRun, deadline: Deadline): Promise<CallToolResult> {
  const { name } = tool.definition
  try {
    return render(await unlessAborted(runHandler(tool, input, createContext(deadline)), deadline.signal), tool)
  } catch (err) {
    if (err instanceof InputRequiredError) throw err
    if (err instanceof ToolError) return failure(err.message)
    const { reason, aborted } = deadline.signal
    if (reason instanceof TimeoutError) {
      log.warn({ tool: name, reason: reason.message }, 'A tool ran too long (TOOL_TIMEOUT_SECONDS, or timeoutSeconds of the tool)')
      return failure(`${name} ${reason.message}`)
    }
    if (aborted) throw reason
    const reference = randomBytes(9).toString('base64url')
    log.error({ err, tool: name, reference }, 'A tool failed')
    return failure(`${name} failed; the server's log holds the reason under reference ${reference}`)
  }
}

async function runHandler ({ definition }: CompiledTool, input: unknown, context: ToolContext): Promise<string | object> {
  return await definition.handler(input as never, context)
}

/** A tool that does not heed its signal is not waited for. */
async function unlessAborted<T> (work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop: (() => void) | undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => {
      const reason: Error = signal.reason
      reject(reason)
    }
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop!)
  }
}

function describe ({ name, title, description, input, output, annotations }: ToolDefinition): Tool {
  // A TypeBox schema is JSON Schema; the copy drops the library's own hidden members.
  return structuredClone(JSON.parse(JSON.stringify({
    name, title, description, inputSchema: input, outputSchema: output, annotations
  }))) as Tool
}

function render (result: string | object, { definition, output }: CompiledTool): CallToolResult {
  if (typeof result === 'string') return { content: [{ type: 'text', text: result }] }
  if (output === undefined || !output.Check(result)) {
    throw new Error(`${definition.name} returned something other than its output schema says: ${output === undefined ? 'it declares none' : explain(output, result)}`)
  }
  return { content: [{ type: 'text', text: JSON.stringify(result) }], structuredContent: result as Record<string, unknown> }
}

function explain (validator: Validator, value: unknown): string {
  return validator.Errors(value).slice(0, 5).map(({ instancePath, message }) => `${instancePath.slice(1) || 'they'} ${message}`).join('; ')
}

function failure (text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true }
}

function deepFreeze<T extends object> (value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner)
  }
  return Object.freeze(value)
}
