import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import { ToolError } from '../../define/tool.ts'
import { findToolError, isMalformed, isWithoutResponse } from './failure.ts'
import { ResponseTooLargeError } from '../transport/limited-fetch.ts'
import { MemoryExceededFailure } from '../transport/process-failure.ts'
import { toUpstreamError } from './upstream-error.ts'

/**
 * Returns the caller's error for a call that failed by itself: the server has answered it with an error or with
 * something that cannot be passed on, or Seed did not send it.
 *
 * @param name the mount
 * @returns undefined if the connection may be what failed
 */
export function toAnsweredError (err: unknown, name: string): Error | undefined {
  const refusal = findToolError(err)
  if (refusal !== undefined) return refusal
  if (err instanceof ProtocolError && !isWithoutResponse(err)) return toUpstreamError(err)
  if (err instanceof ResponseTooLargeError) {
    return new ToolError(`The server behind ${name} ${err.message}: ask for less`)
  }
  if (err instanceof SdkError && err.code === SdkErrorCode.UnsupportedResultType) {
    return new ToolError(`The server behind ${name} asks for input in a way that its revision of MCP does not have`)
  }
  return isMalformed(err)
    ? new ToolError(`The server behind ${name} answered with something other than MCP`)
    : undefined
}

/** Returns the caller's error for a call whose connection may be what failed. */
export function toConnectionError (err: unknown, name: string): ToolError {
  if (err instanceof SdkError && err.code === SdkErrorCode.RequestTimeout) {
    return new ToolError(`The server behind ${name} did not answer in time`)
  }
  if (err instanceof SdkHttpError) {
    return new ToolError(`The server behind ${name} answered with HTTP status ${err.status}`)
  }
  if (err instanceof MemoryExceededFailure) {
    return new ToolError(`The server behind ${name} was ended, as ${err.message}: ask for less`)
  }
  return toUnavailableError(name)
}

/** Returns the caller's error while a server is away. */
export function toUnavailableError (name: string): ToolError {
  return new ToolError(`The server behind ${name} is not available at the moment: try again later`)
}
