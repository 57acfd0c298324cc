import type { CallToolResult, InputRequiredResult, ServerContext } from '@modelcontextprotocol/server'
import type { MaybePromise } from '../../async/maybe-async.ts'
import { sdkChannel } from './client-channel.ts'
import type { DeferredClientChannel } from './client-channel.ts'

/** A tool call that started on the fast path: it may run or be done before the SDK gets its request. */
export interface RunningCall {
  readonly outcome: MaybePromise<CallToolResult | InputRequiredResult>
  readonly channel: DeferredClientChannel
}

/** Continues a running call with the SDK's request: the handler reaches its client through it from now on. */
export async function resumeCall (
  { outcome, channel }: RunningCall,
  context: ServerContext
): Promise<CallToolResult | InputRequiredResult> {
  channel.attach(sdkChannel(context))
  return await outcome
}
