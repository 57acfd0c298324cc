import type { Caller } from '../caller/caller.ts'
import type { ResponseTooLargeError } from './limited-fetch.ts'
import type { ProcessFailure } from './process-failure.ts'
import type { ProcessLog } from './process-log.ts'
import type { RequestIdentity } from './request-identity.ts'

/** The limits of a transport, and whom it serves. */
export interface TransportOptions {
  /** Limit of one response, and of one message of a stream. */
  maxBytes: number
  /** Limit of the time in which a server over HTTP has to accept a notification or a response. */
  timeoutMs: number
  /** Gets what the MCP client may report as something else. */
  onFailure (error: ResponseTooLargeError | ProcessFailure): void
  /** Gets what happens to a process. */
  processLog: Pick<ProcessLog, 'stderr' | 'memoryExceeded'>
  /** The caller whose connection it is; undefined for the connection that fetches the lists, which all may share. */
  caller: Caller | undefined
  /** Undefined if the server is not told who calls. */
  identity?: RequestIdentity | undefined
}
