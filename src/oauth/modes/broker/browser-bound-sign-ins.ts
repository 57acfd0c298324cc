import { Type } from 'typebox'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { OAuthError } from '../../../errors/oauth-error.ts'
import type { StoredRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import type { TraceStep } from '../../../trace/step.ts'
import { SIGN_IN_COOKIE } from '../sign-in.ts'
import type { BrowserCookie } from '../sign-in.ts'

/** Members that the record of each kind of sign-in has beside its own. */
export const BINDING_MEMBERS = {
  /** Secrets, sealed for the record's key. */
  sealed: Type.String(),
  /** SHA-256 of the cookie. */
  browserHash: Type.String()
}
interface Binding {
  sealed: string
  browserHash: string
}

/** Sealed, so that whoever can read the store cannot complete a sign-in with a code that they got hold of. */
export interface SignInSecrets {
  /** PKCE verifier of the request to the provider. */
  codeVerifier: string
  nonce: string
  /** `state` of the client's authorization request, if an application began the sign-in and sent one. */
  state?: string | undefined
}

export type ReadCookie = (name: string) => string | undefined

/** One kind of sign-in: its records, and its errors. */
export interface SignInKind<Content> {
  record: {
    find (store: Store, key: string): Promise<StoredRecord<Content & Binding> | undefined>
    serialize (value: Content & Binding): string
  }
  /** A key of its own for each kind: no callback of one kind completes a sign-in of another. */
  keyOf (stateDigest: string): string
  /** Leads to the steps of the sign-in (src/trace). */
  referenceOf (content: Content): string | undefined
  expired (detail: string): OAuthError
  otherBrowser (): OAuthError
}

const TTL_SECONDS = 600

/**
 * Sign-ins whose browser is at the provider, by `state`. A cookie proves that the browser which comes back is the one
 * that began: otherwise an attacker could have somebody else complete theirs (login CSRF, CVE-2026-27124).
 */
export function createBrowserBoundSignIns<Content> (store: Store, keyring: Keyring, kind: SignInKind<Content>) {
  return {
    /** @returns the cookie that the browser must bring back */
    async save (state: string, content: Content, secrets: SignInSecrets): Promise<BrowserCookie> {
      const value = randomId(32)
      const key = kind.keyOf(digest(state))
      const sealed = keyring.seal(JSON.stringify(secrets), key)
      const record = kind.record.serialize({ ...content, sealed, browserHash: digest(value) })
      await store.set(key, record, TTL_SECONDS)
      return { name: cookieName(state), value, maxAgeSeconds: TTL_SECONDS }
    },

    /**
     * Takes the sign-in with this `state` out of the store: only for the browser that began it, and only once.
     *
     * @throws OAuthError of its kind, StoreUnavailableError
     */
    async take (
      state: string, readCookie: ReadCookie, step: TraceStep
    ): Promise<{ content: Content, secrets: SignInSecrets, cookieName: string }> {
      const key = kind.keyOf(digest(state))
      const stored = await kind.record.find(store, key)
      if (stored === undefined) throw kind.expired('unknown, expired or used state')
      const { value: content } = stored
      step.belongsTo(kind.referenceOf(content))
      const name = cookieName(state)
      const cookie = readCookie(name)
      if (cookie === undefined || !timingSafeEquals(digest(cookie), content.browserHash)) throw kind.otherBrowser()
      if (await store.take(key) === undefined) throw kind.expired('the state was used at the same moment')
      const opened = keyring.open(content.sealed, key)
      if (opened === undefined) throw kind.expired('its secrets are sealed with another SEED_SECRET')
      return { content, secrets: JSON.parse(opened) as SignInSecrets, cookieName: name }
    }
  }
}

function cookieName (state: string): string {
  return `${SIGN_IN_COOKIE}${digest(state).slice(0, 12)}`
}
