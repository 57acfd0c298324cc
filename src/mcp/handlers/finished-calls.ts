import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import { mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { FinishedCall, McpRequest, RecordCall } from '../exchange.ts'
import type { HandlerCall } from './context.ts'

/**
 * Runs a call and records how it ended. Without `record` it only runs it.
 *
 * @param record gets each call once, as it is answered
 */
export function withRecord<Result extends object> (
  record: RecordCall | undefined,
  call: HandlerCall,
  run: () => MaybePromise<Result>
): MaybePromise<Result> {
  if (record === undefined) return run()
  const startedAt = performance.now()
  const end = (outcome: FinishedCall['outcome'], reason?: string): void => {
    const { caller: { request }, method, name, arguments: given, refusal } = call
    const ended = refusal === undefined ? { outcome, reason } : { outcome: 'refused' as const, reason: refusal }
    record({ request, method, name, arguments: given, ...ended, ms: performance.now() - startedAt })
  }
  return mapMaybe(
    run,
    (result) => {
      end(outcomeOf(result))
      return result
    },
    (err) => {
      end(outcomeOfError(err), (err as Error).message)
      throw err
    }
  )
}

const METHODS: readonly unknown[] = ['tools/call', 'prompts/get', 'resources/read']

/** Records a message that would be a call, if its params were valid. */
export function recordRefusedCall (
  record: RecordCall | undefined, request: McpRequest, message: unknown, reason: string
): void {
  const { method, params } = message as { method: string, params?: { name?: unknown, uri?: unknown } }
  if (record === undefined || !METHODS.includes(method)) return
  const name = params?.name ?? params?.uri
  record({
    request,
    method,
    name: typeof name === 'string' ? name : '',
    arguments: undefined,
    outcome: 'refused',
    reason,
    ms: 0
  })
}

function outcomeOf (result: object): FinishedCall['outcome'] {
  const { isError, resultType } = result as { isError?: unknown, resultType?: unknown }
  if (resultType === 'input_required') return 'input_required'
  return isError === true ? 'error' : 'ok'
}

/** The only other errors that end a call are the reasons for which it was aborted (execute.ts). */
function outcomeOfError (err: unknown): FinishedCall['outcome'] {
  if (err instanceof StoreUnavailableError) return 'unavailable'
  if (!(err instanceof ProtocolError)) return 'cancelled'
  return err.code === ProtocolErrorCode.InternalError ? 'error' : 'refused'
}
