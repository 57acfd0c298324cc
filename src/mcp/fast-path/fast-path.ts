import type { RequestId } from '@modelcontextprotocol/server'
import type { Answer } from '../exchange.ts'
import type { Caller } from '../handlers/caller.ts'
import type { Catalog } from '../catalog/catalog.ts'
import type { CallLimits, Exchange } from '../engine.ts'
import { requestKey } from '../eras/legacy.ts'
import type { Policies } from '../../policy/evaluator.ts'
import type { Runner } from '../handlers/runner.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import { isPromise } from '../../async/maybe-async.ts'
import type { Awaitable } from '../../async/maybe-async.ts'
import type { BegunCalls } from './pending-calls.ts'
import type { PlainAnswers } from './plain-response.ts'
import { createPlainRequests } from './plain-request.ts'
import type { PlainRequest } from './plain-request.ts'

/**
 * Answers plain requests without what the SDK does for each, and leaves every other to it.
 *
 * A call begins here. Where its result is plain and soon there, it is written; where the handler needs its client, takes
 * long or ends otherwise, the request goes to the SDK with the handler that runs, which is never begun twice. So streams,
 * questions, cancelling, errors and all that is rare have one implementation.
 */
export interface FastPath {
  /** @returns undefined for a request that is the SDK's. @throws as Engine.handle */
  answer (exchange: Exchange): Awaitable<Answer | undefined>
  /** Everything is the SDK's from now on. */
  stop (): void
}

/** A call that the SDK is to go on with. */
export interface Begun {
  caller: Caller
  /** It counts as running until then. */
  release: () => void
}

export interface FastPathOptions {
  catalog: () => Catalog
  policies: Policies
  runner: Runner
  sessions: Sessions
  /** Go on with a call through the SDK. */
  sdk: {
    modern (exchange: Exchange, begun: Begun): Promise<Answer>
    session (exchange: Exchange, session: Session, begun: Begun): Promise<Answer>
  }
  /** Whether a request with this id runs in a session. */
  isRunning (session: string, id: RequestId): boolean
  begunCalls: BegunCalls
  answers: PlainAnswers
  limits: CallLimits
  pageSize: number
}

export function createFastPath ({ catalog, policies, runner, sessions, sdk, isRunning, begunCalls, answers, limits, pageSize }: FastPathOptions): FastPath {
  const readPlain = createPlainRequests()
  let stopped = false

  /** A tool that this caller may call and no header has a say in, or a list of one page. */
  function isServed ({ method, name }: PlainRequest, { principal }: Exchange): boolean {
    const { tools } = catalog()
    if (method === 'tools/list') return tools.listing.visible(principal).length <= pageSize
    const tool = tools.find(name)
    return tool !== undefined && tool.mirrored.length === 0 && policies.allows(tool.definition, principal)
  }

  function serve (exchange: Exchange, plain: PlainRequest, session: Session | undefined): Awaitable<Answer> {
    if (plain.method === 'tools/call') return call(exchange, plain, session)
    const { listing } = catalog().tools
    return answers.list(plain.id, session === undefined, listing.visible(exchange.principal), listing.isPublic)
  }

  function call (exchange: Exchange, plain: PlainRequest, session: Session | undefined): Awaitable<Answer> {
    const { name, arguments: input, envelope } = plain
    const { principal, log, address } = exchange
    const release = limits.beginCall(principal?.key, address)
    const caller: Caller = session === undefined ? { principal, log } : { principal, log, session }
    let isNeeded = false
    let handOver: (() => void) | undefined
    const begun = caller.begun = runner.begin({ caller, method: 'tools/call', name, arguments: input, envelope }, (run) => catalog().tools.call(name, input, principal, run), () => {
      isNeeded = true
      handOver?.()
    })
    const { outcome, reach } = begun
    if (!isNeeded && !isPromise(outcome)) {
      const answer = answers.call(plain.id, session === undefined, outcome)
      if (answer !== undefined) {
        reach.end()
        release()
        return answer
      }
    }
    return goOn(exchange, plain, { caller, release }, isNeeded, (hand) => { handOver = hand })
  }

  /** @param onNeeded takes what to do when the handler needs its client, as it may already */
  async function goOn (exchange: Exchange, { id }: PlainRequest, begun: Begun, isNeeded: boolean, onNeeded: (handOver: () => void) => void): Promise<Answer> {
    const { caller, release } = begun
    const { session } = caller
    const { outcome, reach } = caller.begun!
    const key = session === undefined ? caller : requestKey(session.digest, id)
    let handed: Promise<Answer> | undefined
    let stopWatching: (() => void) | undefined
    let settle: (result: object | undefined) => void
    const soon = new Promise<object | undefined>((resolve) => { settle = resolve })

    function handOver (): void {
      if (handed !== undefined) return
      begunCalls.delete(key)
      stopWatching?.()
      handed = session === undefined ? sdk.modern(exchange, begun) : sdk.session(exchange, session, begun)
      settle(undefined)
    }

    /** In a session the call goes on; in 2026-07-28 its client has cancelled it. */
    function watch (): void {
      const { signal } = exchange
      const left = (): void => {
        if (session === undefined) reach.leave()
        handOver()
      }
      signal.addEventListener('abort', left, { once: true })
      stopWatching = () => { signal.removeEventListener('abort', left) }
      if (signal.aborted) left()
    }

    onNeeded(handOver)
    if (isNeeded || !isPromise(outcome)) handOver()
    else {
      begunCalls.add(key, { handOver, watch })
      outcome.then(settle!, () => { settle(undefined) })
    }
    const result = await soon
    const answer = handed === undefined && result !== undefined ? answers.call(id, session === undefined, result) : undefined
    if (answer === undefined) {
      handOver()
      return await handed!
    }
    begunCalls.delete(key)
    stopWatching?.()
    reach.end()
    release()
    return answer
  }

  function serveSession (exchange: Exchange, plain: PlainRequest): Awaitable<Answer | undefined> {
    const id = exchange.headers['mcp-session-id'] as string
    const principalKey = exchange.principal?.key ?? ''
    const copy = sessions.copyOf(id, principalKey)
    return copy === undefined ? sessions.useAndCopy(id, principalKey).then((session) => serveIn(session, exchange, plain)) : serveIn(copy, exchange, plain)
  }

  function serveIn (session: Session, exchange: Exchange, plain: PlainRequest): Awaitable<Answer | undefined> {
    // What is refused is refused by the SDK's side.
    if (stopped || isRunning(session.digest, plain.id)) return undefined
    return serve(exchange, plain, session)
  }

  return {
    answer (exchange) {
      const plain = stopped ? undefined : readPlain(exchange)
      if (plain === undefined || !isServed(plain, exchange)) return undefined
      return plain.envelope === undefined ? serveSession(exchange, plain) : serve(exchange, plain, undefined)
    },
    stop () {
      stopped = true
      begunCalls.handOverAll()
    }
  }
}
