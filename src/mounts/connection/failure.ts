import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import { ToolError } from '../../define/tool.ts'
import { causeCode } from '../../net/fetch.ts'
import { withoutControls } from '../../json/printable.ts'
import { NO_RESPONSE } from '../transport/http-transport.ts'
import { ProcessFailure } from '../transport/process-failure.ts'

const MAX_QUOTED = 200

/** Statuses that an operator has to do something about: the secret is refused, or the URL is wrong. */
const REFUSALS: readonly number[] = [401, 403, 404]

/** Tells whether the server answered something other than MCP. */
export function isMalformed (err: unknown): boolean {
  if (err instanceof SdkError) return MALFORMED.includes(err.code)
  return err instanceof SyntaxError || (err as Error).name === 'ZodError'
}

const MALFORMED: readonly unknown[] = [SdkErrorCode.InvalidResult, SdkErrorCode.ClientHttpUnexpectedContent]

/** Tells whether the stream ended before the response had come. */
export function isWithoutResponse (err: unknown): boolean {
  return err instanceof ProtocolError && err.code === NO_RESPONSE
}

/** Finds the error of Seed's own for which a request was not sent: the MCP client may wrap it. */
export function findToolError (err: unknown): ToolError | undefined {
  if (err instanceof ToolError) return err
  return err instanceof Error ? findToolError(err.cause) : undefined
}

/** Returns why a request failed, where its transport has answered it with the reason (noResponse). */
export function findCause (err: unknown): unknown {
  return isWithoutResponse(err) && (err as ProtocolError).data instanceof Error ? (err as ProtocolError).data : err
}

export interface Failure {
  /** For the log and the terminal of the operator: short, and without control characters. */
  reason: string
  /** Whether the server refuses the secret, or does not know the URL. */
  isRefusal: boolean
}

/** Describes why a mounted server cannot be used. The MCP client wraps the error that says it. */
export function describeFailure (err: unknown): Failure {
  const { cause } = err as { cause?: unknown }
  if (err instanceof SdkHttpError) return fromStatus(err.status)
  if (err instanceof ProcessFailure) return { reason: err.message, isRefusal: err.isRefusal }
  if (isMalformed(err)) return fail('it answered with something other than MCP')
  if (isWithoutResponse(err)) return fail('it ended a stream without a response')
  if (err instanceof ProtocolError) return fail(`it answered with the JSON-RPC error ${err.code}`)
  if (err instanceof SdkError) {
    if (err.code === SdkErrorCode.RequestTimeout) return fail('it did not answer in time (connectTimeoutSeconds)')
    return cause === undefined ? fail(err.code) : describeFailure(cause)
  }
  if (err instanceof TypeError) return fail(`it cannot be reached (${causeCode(err)})`)
  // The MCP client quotes the server, such as the revision of the protocol that it claims to speak.
  return fail(withoutControls((err as Error).message.slice(0, MAX_QUOTED)))
}

function fail (reason: string): Failure {
  return { reason, isRefusal: false }
}

function fromStatus (status: number): Failure {
  const isRefusal = REFUSALS.includes(status)
  return { reason: `it answered with HTTP status ${status}`, isRefusal }
}
