import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import { OtherBrowserError, SignInExpiredError } from '../../../errors/sign-in-errors.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import { SIGN_IN_COOKIE } from '../sign-in.ts'
import type { AllowedRequest, BrowserCookie } from '../sign-in.ts'

/** The part of a request that is needed once the provider has answered. */
type PendingRequest = Omit<AllowedRequest, 'nonce' | 'prompt' | 'loginHint'>

/** A sign-in whose browser is at the provider. */
export interface PendingSignIn {
  request: PendingRequest
  codeVerifier: string
  nonce: string
}

type SignInRecord = PendingSignIn & { browserHash: string }

export type ReadCookie = (name: string) => string | undefined

const TTL_SECONDS = 600

/**
 * Sign-ins on their way through the provider, by `state`. The browser that comes back must be the one that consented
 * (CVE-2026-27124): a cookie proves it.
 */
export function createPendingSignIns (store: Store) {
  return {
    /** @returns the cookie that the browser must bring back */
    async save (state: string, signIn: PendingSignIn): Promise<BrowserCookie> {
      const value = randomId(32)
      const record: SignInRecord = { ...signIn, request: pendingPart(signIn.request), browserHash: digest(value) }
      await store.set(keys.signIn(digest(state)), JSON.stringify(record), TTL_SECONDS)
      return { name: cookieName(state), value, maxAgeSeconds: TTL_SECONDS }
    },

    /**
     * Takes the sign-in with this `state` out of the store: only for the browser that started it, and only once.
     *
     * @throws SignInExpiredError, OtherBrowserError, StoreUnavailableError
     */
    async take (state: string | undefined, readCookie: ReadCookie): Promise<PendingSignIn & { cookieName: string }> {
      if (state === undefined) throw expired('the callback came without state')
      const key = keys.signIn(digest(state))
      const text = await store.get(key)
      if (text === undefined) throw expired('unknown, expired or used state')
      const { browserHash, ...signIn } = JSON.parse(text) as SignInRecord
      const cookie = readCookie(cookieName(state))
      if (cookie === undefined || !timingSafeEquals(digest(cookie), browserHash)) {
        throw new OtherBrowserError('This sign-in was started in another browser',
          'the cookie of the consent is missing or another one (CVE-2026-27124)')
      }
      if (await store.take(key) === undefined) throw expired('the state was used at the same moment')
      return { ...signIn, cookieName: cookieName(state) }
    }
  }
}

/** Leaves out what only the provider needed, as strangers can fill the store with it. */
function pendingPart (request: PendingRequest & Partial<AllowedRequest>): PendingRequest {
  const { nonce, prompt, loginHint, ...pending } = request
  return pending
}

function cookieName (state: string): string {
  return `${SIGN_IN_COOKIE}${digest(state).slice(0, 12)}`
}

function expired (detail: string): SignInExpiredError {
  return new SignInExpiredError('This sign-in has expired or was already completed', detail)
}
