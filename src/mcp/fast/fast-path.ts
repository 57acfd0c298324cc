import type { Answer } from '../answer.ts'
import type { Caller } from '../caller.ts'
import type { Catalog } from '../catalog/catalog.ts'
import type { CallLimits, Exchange } from '../engine.ts'
import { requestKey } from '../legacy.ts'
import type { Policies } from '../../policy/policies.ts'
import type { Runner } from '../runner.ts'
import type { Session, Sessions } from '../sessions.ts'
import type { BegunCalls } from './begun-calls.ts'
import type { PlainAnswers } from './plain-answer.ts'
import { createPlainRequests } from './plain-request.ts'
import type { PlainRequest } from './plain-request.ts'

/**
 * Answers plain requests without what the SDK does for each, and leaves every other to it.
 *
 * A call begins here. Where its result is plain and there within a turn of the event loop, it is written; where the
 * handler needs its client, takes longer or ends otherwise, the request goes to the SDK with the handler that runs, which
 * is never begun twice. So streams, questions, cancelling, errors and all that is rare have one implementation.
 */
export interface FastPath {
  /** @returns undefined for a request that is the SDK's. @throws as Engine.handle */
  answer (exchange: Exchange): Promise<Answer | undefined> | undefined
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
  /** Whether a request of this key runs. */
  isRunning (key: string): boolean
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

  async function serve (exchange: Exchange, plain: PlainRequest, session: Session | undefined): Promise<Answer> {
    if (plain.method === 'tools/call') return await call(exchange, plain, session)
    const { listing } = catalog().tools
    return answers.list(plain.id, session === undefined, listing.visible(exchange.principal), listing.isPublic)
  }

  async function call (exchange: Exchange, { id, name, arguments: input, envelope }: PlainRequest, session: Session | undefined): Promise<Answer> {
    const { principal, log, address } = exchange
    const release = limits.beginCall(principal?.key, address)
    const caller: Caller = session === undefined ? { principal, log } : { principal, log, session }
    const key = session === undefined ? caller : requestKey(session.digest, id)
    let wanted = false
    let handed: Promise<Answer> | undefined
    let settle: (result: object | undefined) => void
    const soon = new Promise<object | undefined>((resolve) => { settle = resolve })

    function handOver (): void {
      wanted = true
      // A handler may need its client at once.
      if (caller.begun === undefined || handed !== undefined) return
      begunCalls.delete(key)
      handed = session === undefined ? sdk.modern(exchange, { caller, release }) : sdk.session(exchange, session, { caller, release })
      settle(undefined)
    }

    const begun = caller.begun = runner.begin({ caller, method: 'tools/call', name, arguments: input, envelope }, async (run) => await catalog().tools.call(name, input, principal, run), handOver)
    begun.outcome.then(settle!, () => { settle(undefined) })
    if (wanted) handOver()
    else begunCalls.add(key, handOver)
    const result = await soon
    const answer = handed === undefined && result !== undefined ? answers.call(id, session === undefined, result) : undefined
    if (answer === undefined) {
      handOver()
      return await handed!
    }
    begunCalls.delete(key)
    begun.reach.end()
    release()
    return answer
  }

  async function serveSession (exchange: Exchange, plain: PlainRequest): Promise<Answer | undefined> {
    const id = exchange.headers['mcp-session-id'] as string
    const principalKey = exchange.principal?.key ?? ''
    const session = sessions.copyOf(id, principalKey) ?? await sessions.useAndCopy(id, principalKey)
    const key = requestKey(session.digest, plain.id)
    // What is refused is refused by the SDK's side.
    if (stopped || isRunning(key)) return undefined
    return await serve(exchange, plain, session)
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
