import type { InputRequest } from '@modelcontextprotocol/client'
import { ToolError } from '../../define/tool.ts'
import { UpstreamError } from '../../define/upstream.ts'
import { ResultTooLargeError, toJson } from '../../mcp/handlers/result-json.ts'

/** What has become of a call, for the replica that serves its client now. */
export type CallOutcome =
  | { kind: 'result', result: object }
  /** The server asks, and the call is held under this id. */
  | { kind: 'question', request: InputRequest, id: string }
  | FailedCall

type FailedCall =
  | { kind: 'tool error', message: string }
  | { kind: 'error of the server', code: number, message: string, data?: unknown }
  | { kind: 'too large' }
  | { kind: 'failure', message: string }

/** Returns the outcome of a call that has failed. */
export function toOutcome (err: unknown): FailedCall {
  if (err instanceof ToolError) return { kind: 'tool error', message: err.message }
  if (err instanceof UpstreamError) {
    return { kind: 'error of the server', code: err.code, message: err.message, data: err.data }
  }
  return { kind: 'failure', message: String(err) }
}

/** What an outcome has beside a result. */
const ENVELOPE_BYTES = 1_024

/** Returns the JSON of an outcome, for `readOutcome`. @param maxBytes MCP_MAX_RESULT_BYTES */
export function serializeOutcome (outcome: CallOutcome, maxBytes: number): string {
  try {
    return toJson(outcome, maxBytes + ENVELOPE_BYTES)
  } catch {
    const tooLarge: CallOutcome = { kind: 'too large' }
    return JSON.stringify(tooLarge)
  }
}

export function readOutcome (text: string): CallOutcome {
  return JSON.parse(text) as CallOutcome
}

/** Returns the result of a call that has ended. @throws the error of one that has failed */
export function toResult (outcome: Exclude<CallOutcome, { kind: 'question' }>, maxBytes: number): object {
  switch (outcome.kind) {
    case 'result': return outcome.result
    case 'tool error': throw new ToolError(outcome.message)
    case 'error of the server': throw new UpstreamError(outcome.code, outcome.message, outcome.data)
    case 'too large': throw new ResultTooLargeError(maxBytes)
    case 'failure': throw new Error(`The replica that runs the call: ${outcome.message}`)
  }
}
