import { Type } from 'typebox'
import type { Static } from 'typebox'
import { keys } from '../../../store/keys.ts'
import { OptionalString, defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import { OtherBrowserError, SignInExpiredError } from '../../../errors/sign-in-errors.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { TraceStep } from '../../../trace/step.ts'
import { ClientAuthMethodSchema, ClientKindSchema } from '../../clients/clients.ts'
import type { AllowedRequest, BrowserCookie } from '../sign-in.ts'
import { DemandedAuthenticationSchema } from './authentication-demands.ts'
import { UnfinishedSignInSchema } from '../unfinished-sign-ins.ts'
import { BINDING_MEMBERS, createBrowserBoundSignIns } from './browser-bound-sign-ins.ts'
import type { ReadCookie, SignInKind, SignInSecrets } from './browser-bound-sign-ins.ts'

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
  endpoint: OptionalString,
  scopes: Type.ReadonlyObject(Type.Array(Type.String())),
  // Of a request that an earlier release began, Seed knows of these only max_age.
  maxAge: OptionalString,
  acrValues: OptionalString,
  mustLogIn: Type.Optional(Type.Boolean()),
  demanded: Type.Optional(DemandedAuthenticationSchema),
  startedAt: Type.Optional(Type.Integer()),
  reference: OptionalString,
  unfinished: UnfinishedSignInSchema
})
/** The part of a request (AllowedRequest) that is needed once the provider has answered. */
export type PendingRequest = Static<typeof PendingRequestSchema> & Pick<AllowedRequest, 'state'>

/** A sign-in whose browser is at the provider. */
export interface PendingSignIn extends Pick<SignInSecrets, 'codeVerifier' | 'nonce'> {
  request: PendingRequest
}

interface StoredSignIn {
  request: Static<typeof PendingRequestSchema>
}

const signInRecord = defineRecord('pending sign-in', Type.Object({
  request: PendingRequestSchema, ...BINDING_MEMBERS
}))

const KIND: SignInKind<StoredSignIn> = {
  record: signInRecord,
  keyOf: keys.signIn,
  referenceOf: ({ request }) => request.reference,
  expired,
  otherBrowser: () => new OtherBrowserError('This sign-in was started in another browser',
    'the cookie of the consent is missing or another one (CVE-2026-27124)')
}

/** Sign-ins of applications on their way through the provider. The browser must be the one that consented. */
export function createPendingSignIns (store: Store, keyring: Keyring) {
  const signIns = createBrowserBoundSignIns(store, keyring, KIND)

  return {
    /** @returns the cookie that the browser must bring back */
    save: async (state: string, { request, codeVerifier, nonce }: PendingSignIn): Promise<BrowserCookie> =>
      await signIns.save(state, { request: pendingPart(request) }, { codeVerifier, nonce, state: request.state }),

    /** @throws SignInExpiredError, OtherBrowserError, StoreUnavailableError */
    async take (
      state: string | undefined, readCookie: ReadCookie, step: TraceStep
    ): Promise<PendingSignIn & { cookieName: string }> {
      if (state === undefined) throw expired('the callback came without state')
      const { content: { request }, secrets, cookieName } = await signIns.take(state, readCookie, step)
      const { codeVerifier, nonce, state: clientState } = secrets
      return { request: { ...request, state: clientState }, codeVerifier, nonce, cookieName }
    }
  }
}

/** Leaves out the secrets, and what only the provider needed, as strangers can fill the store with it. */
function pendingPart (request: PendingRequest & Partial<AllowedRequest>): Static<typeof PendingRequestSchema> {
  const { state, nonce, prompt, loginHint, ...pending } = request
  return pending
}

function expired (detail: string): SignInExpiredError {
  return new SignInExpiredError('This sign-in has expired or was already completed', detail, 'callback_unknown')
}
