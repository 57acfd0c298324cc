import { ToolError } from '../../define/tool.ts'
import { HeldCallLostError } from '../../mcp/cluster/continued-calls.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import { MAX_ROUNDS } from '../../mcp/handlers/upstream-input.ts'
import { CallLog } from '../connection/call-log.ts'
import { readOutcome, toResult } from './call-outcome.ts'
import type { CallOutcome } from './call-outcome.ts'

/** The key of the question in a round. */
export const KEY = 'question'

/** What the replica that holds a call is told: the client's answer, or why the client cannot be asked. */
export interface Continuation {
  answer?: unknown
  refusal?: string
  /** Whether the server has asked so often that it may not ask any more in this call. */
  isLastRefusal?: boolean
}

/** What the client is told while the call runs. */
export type CallNote =
  | { method: 'progress', params: Parameters<RunContext['progress']> }
  | { method: 'logToClient', params: Parameters<RunContext['logToClient']> }

/** Reads what another replica, whose continuation was sealed, has sent. */
export function readContinuation (message: string): Continuation {
  return JSON.parse(message) as Continuation
}

/** Returns the key of the principal whose call it is. */
export function ownerOfCall ({ principal }: Pick<RunContext, 'principal'>): string {
  return principal?.key ?? ''
}

/**
 * Continues a call that another replica holds, until it ends or asks.
 *
 * @throws InputRequiredError if the client is asked; errors of the call; ToolError if its replica is gone
 */
export async function continueElsewhere (context: RunContext, id: string): Promise<object> {
  let held = id
  let continuation: Continuation = { answer: context.upstreamRound!.inputResponses[KEY] }
  let refusals = 0
  for (;;) {
    const outcome = await findOutcome(context, held, continuation)
    if (outcome.kind !== 'question') return toResult(outcome, context.maxResultBytes)
    held = outcome.id
    // A client of 2026-07-28 is asked by an InputRequiredError: there is no answer yet.
    const asking = context.askForUpstream({
      inputRequests: { [KEY]: outcome.request }, requestState: held, isHeld: true
    })
    const refusal = await (asking as Promise<never>).catch(toRefusal)
    continuation = { refusal, isLastRefusal: ++refusals === MAX_ROUNDS }
  }
}

/** Returns why the client cannot be asked. */
function toRefusal (err: unknown): string {
  if (err instanceof ToolError) return err.message
  throw err
}

async function findOutcome (context: RunContext, id: string, continuation: Continuation): Promise<CallOutcome> {
  const { heldCalls, signal } = context
  const log = new CallLog(context, 'debug', { name: '', prefix: false })
  const ending = heldCalls.continueElsewhere(id, {
    owner: ownerOfCall(context),
    message: JSON.stringify(continuation),
    signal,
    onNote: (note) => { tellClient(context, log, JSON.parse(note) as CallNote) }
  }).finally(async () => { await log.end() })
  try {
    return readOutcome(await ending)
  } catch (err) {
    throw err instanceof HeldCallLostError ? new ToolError(err.message) : err
  }
}

function tellClient (context: RunContext, log: CallLog, note: CallNote): void {
  if (note.method === 'progress') {
    context.progress(...note.params)
    return
  }
  const [level, data, logger] = note.params
  log.receive({ level, data, logger })
}
