import { Type } from 'typebox'
import type { Static } from 'typebox'
import { keys } from '../../../store/keys.ts'
import { defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import { OtherBrowserError, SignInExpiredError } from '../../../errors/sign-in-errors.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import type { TraceStep } from '../../../trace/step.ts'
import { ClientAuthMethodSchema, ClientKindSchema } from '../../clients/clients.ts'
import { SIGN_IN_COOKIE } from '../sign-in.ts'
import type { AllowedRequest, BrowserCookie } from '../sign-in.ts'
import { UnfinishedSignInSchema } from '../unfinished-sign-ins.ts'

/** A member that JSON leaves out where it is undefined. */
const OptionalString = Type.Optional(Type.Union([Type.String(), Type.Undefined()]))

const PendingRequestSchema = Type.Object({
  client: Type.Object({
    id: Type.String(),
    kind: ClientKindSchema,
    name: Type.String(),
    refreshes: Type.Boolean(),
    authMethod: ClientAuthMethodSchema
  }),
  redirectUri: Type.String(),
  codeChallenge: Type.String(),
  scopes: Type.ReadonlyObject(Type.Array(Type.String())),
  maxAge: OptionalString,
  reference: OptionalString,
  unfinished: UnfinishedSignInSchema
})
/** The part of a request (AllowedRequest) that is needed once the provider has answered. */
type PendingRequest = Static<typeof PendingRequestSchema> & Pick<AllowedRequest, 'state'>

/** A sign-in whose browser is at the provider. */
export interface PendingSignIn {
  request: PendingRequest
  /** PKCE verifier of the request to the provider. */
  codeVerifier: string
  nonce: string
}

/** Sealed, so that whoever can read the store cannot complete a sign-in with a code that they got hold of. */
interface Secrets {
  codeVerifier: string
  nonce: string
  /** `state` of the client's authorization request. */
  state: string | undefined
}

const signInRecord = defineRecord('pending sign-in', Type.Object({
  request: PendingRequestSchema,
  /** Secrets, sealed for this key. */
  sealed: Type.String(),
  /** SHA-256 of the cookie. */
  browserHash: Type.String()
}))

export type ReadCookie = (name: string) => string | undefined

const TTL_SECONDS = 600

/**
 * Sign-ins on their way through the provider, by `state`. The browser that comes back must be the one that consented
 * (CVE-2026-27124): a cookie proves it.
 */
export function createPendingSignIns (store: Store, keyring: Keyring) {
  return {
    /** @returns the cookie that the browser must bring back */
    async save (state: string, { request, codeVerifier, nonce }: PendingSignIn): Promise<BrowserCookie> {
      const value = randomId(32)
      const key = keys.signIn(digest(state))
      const secrets: Secrets = { codeVerifier, nonce, state: request.state }
      const sealed = keyring.seal(JSON.stringify(secrets), key)
      const record = signInRecord.serialize({
        request: pendingPart(request), sealed, browserHash: digest(value)
      })
      await store.set(key, record, TTL_SECONDS)
      return { name: cookieName(state), value, maxAgeSeconds: TTL_SECONDS }
    },

    /**
     * Takes the sign-in with this `state` out of the store: only for the browser that started it, and only once.
     *
     * @throws SignInExpiredError, OtherBrowserError, StoreUnavailableError
     */
    async take (
      state: string | undefined, readCookie: ReadCookie, step: TraceStep
    ): Promise<PendingSignIn & { cookieName: string }> {
      if (state === undefined) throw expired('the callback came without state')
      const key = keys.signIn(digest(state))
      const stored = await signInRecord.find(store, key)
      if (stored === undefined) throw expired('unknown, expired or used state')
      const { browserHash, sealed, request } = stored.value
      step.belongsTo(request.reference)
      const cookie = readCookie(cookieName(state))
      if (cookie === undefined || !timingSafeEquals(digest(cookie), browserHash)) {
        throw new OtherBrowserError('This sign-in was started in another browser',
          'the cookie of the consent is missing or another one (CVE-2026-27124)')
      }
      if (await store.take(key) === undefined) throw expired('the state was used at the same moment')
      const opened = keyring.open(sealed, key)
      if (opened === undefined) throw expired('its secrets are sealed with another SEED_SECRET')
      const { codeVerifier, nonce, state: clientState } = JSON.parse(opened) as Secrets
      return { request: { ...request, state: clientState }, codeVerifier, nonce, cookieName: cookieName(state) }
    }
  }
}

/** Leaves out the secrets, and what only the provider needed, as strangers can fill the store with it. */
function pendingPart (request: PendingRequest & Partial<AllowedRequest>): Static<typeof PendingRequestSchema> {
  const { state, nonce, prompt, loginHint, ...pending } = request
  return pending
}

function cookieName (state: string): string {
  return `${SIGN_IN_COOKIE}${digest(state).slice(0, 12)}`
}

function expired (detail: string): SignInExpiredError {
  return new SignInExpiredError('This sign-in has expired or was already completed', detail, 'callback_unknown')
}
