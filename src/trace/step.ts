import type { HttpError } from '../errors/http-error.ts'

/** The requests of which a sign-in consists, in order, and what may be refused besides. */
export type StepName =
  | 'register' | 'authorize' | 'consent' | 'callback' | 'token' | 'refresh' | 'revoke' | 'call' | 'refused call'
  | 'connections' | 'connections sign-in' | 'connections callback'

/** An answer of the provider. */
export interface ProviderAnswer {
  /** The endpoint or check, in plain words. */
  asked: string
  ms: number
  /** The failure; absent for a usable answer. */
  problem?: string
}

/** Facts about a request: never a token, code, secret, state or verifier, and nobody's name or address. */
export type Facts = Readonly<Record<string, string | undefined>>

/**
 * What is learnt about a sign-in while one of its requests is handled. Routes and endpoints add to it; it is recorded
 * when the response has been sent (src/http/trace-steps.ts).
 */
export class TraceStep {
  name: StepName
  readonly facts: Record<string, string> = {}
  readonly providerAnswers: ProviderAnswer[] = []
  /** The decision, in plain words. */
  outcome: string | undefined
  /** An error that is answered with a redirect, so that no error handler sees it. */
  error: HttpError | undefined
  #reference: string
  #isContinued = false

  /** @param requestId the reference, unless the request turns out to belong to a sign-in that has one */
  constructor (name: StepName, requestId: string) {
    this.name = name
    this.#reference = requestId
  }

  /** Leads to the sign-in, or to this request if it belongs to none that is known. */
  get reference (): string {
    return this.#reference
  }

  /** Whether the request belongs to a sign-in that began earlier. */
  get isContinued (): boolean {
    return this.#isContinued
  }

  /** @param reference of the sign-in; undefined if it began with an earlier version of Seed */
  belongsTo (reference: string | undefined): void {
    if (reference === undefined) return
    this.#reference = reference
    this.#isContinued = true
  }

  note (facts: Facts): void {
    for (const [name, value] of Object.entries(facts)) if (value !== undefined) this.facts[name] = value
  }

  /** Awaits an answer of the provider, and notes how long it took and what was wrong with it. */
  async timeProvider<T> (asked: string, request: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    const took = (): number => Math.round(performance.now() - startedAt)
    try {
      const answer = await request()
      this.providerAnswers.push({ asked, ms: took() })
      return answer
    } catch (err) {
      const { detail, message } = err as { detail?: string, message: string }
      this.providerAnswers.push({ asked, ms: took(), problem: detail ?? message })
      throw err
    }
  }
}
