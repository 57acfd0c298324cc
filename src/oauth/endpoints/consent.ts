import { isLoopbackHost } from '../../net/addresses.ts'
import { digest, randomId, timingSafeEquals } from '../../crypto/hash.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { OtherBrowserError, SignInExpiredError } from '../../errors/sign-in-errors.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { TraceStep } from '../../trace/step.ts'
import type { Clients } from '../clients/clients.ts'
import type { Requester } from '../clients/requester.ts'
import type { AllowedRequest, AuthorizationRequest, BrowserCookie, SignIn } from '../modes/sign-in.ts'
import type { FindKeyring } from '../../crypto/keyring.ts'
import { toSignInError } from '../modes/sign-in-error.ts'
import { UNFINISHED_SECONDS, countUnfinished } from '../modes/unfinished-sign-ins.ts'
import { errorRedirect } from '../protocol/authorization-response.ts'
import { checkRegistrableRedirectUri } from '../protocol/redirect-uri.ts'
import { describeScope } from '../protocol/scope.ts'

/** The content of the form's hidden field. */
interface ConsentForm {
  id: string
  request: AuthorizationRequest
  browserHash: string
  /** Milliseconds since the epoch. */
  expiresAt: number
}

/** Cookies of a request, by name, in the browser's order. */
type RequestCookies = ReadonlyMap<string, string>

const CONSENT_TTL_SECONDS = 900
/** The place of the sealed form, so that nothing else that Seed seals opens as one. */
const SEAL_CONTEXT = 'consent'

export interface PendingConsentOptions {
  store: Store
  findKeyring: FindKeyring
  /** OAUTH_LIMIT_PER_ADDRESS */
  maxPerAddress: number
}

export type PendingConsents = ReturnType<typeof createPendingConsents>

/**
 * The authorization requests that wait for a person's consent. Consent is asked before the provider is involved, every
 * time and for every client (MCP security best practices, "Confused Deputy Problem"). The request travels sealed in the
 * page's form, so that strangers who open consent pages leave nothing in the store. It can be answered once, within 15
 * minutes, by the browser that was asked.
 */
export function createPendingConsents ({ store, findKeyring, maxPerAddress }: PendingConsentOptions) {
  return {
    /** Returns the value of the form's hidden field, and the cookie that the answer must come with. */
    async create (
      request: AuthorizationRequest,
      cookies: RequestCookies
    ): Promise<{ sealed: string, cookie: BrowserCookie }> {
      const cookie = browserCookie(cookies)
      const form: ConsentForm = {
        id: randomId(), request, browserHash: digest(cookie.value), expiresAt: Date.now() + CONSENT_TTL_SECONDS * 1_000
      }
      return { sealed: (await findKeyring()).seal(JSON.stringify(form), SEAL_CONTEXT), cookie }
    },

    /**
     * Returns the request that is being answered; it cannot be answered again.
     *
     * @param requester its address's unfinished sign-ins are limited
     * @throws SignInExpiredError, OtherBrowserError, LimitError, StoreUnavailableError
     */
    async take (
      sealed: string, cookies: RequestCookies, { ip, step }: Pick<Requester, 'ip' | 'step'>
    ): Promise<AllowedRequest> {
      const text = (await findKeyring()).open(sealed, SEAL_CONTEXT)
      if (text === undefined) throw consentExpired('the form was not sealed here, or SEED_SECRET has changed')
      const { id, request, browserHash, expiresAt } = JSON.parse(text) as ConsentForm
      if (Date.now() >= expiresAt) throw consentExpired('the page is older than 15 minutes')
      if (!browserValues(cookies).some((value) => timingSafeEquals(digest(value), browserHash))) {
        throw new OtherBrowserError('This page was opened in another browser, or this browser blocks cookies',
          'the cookie of the consent page is missing or is another one')
      }
      step.belongsTo(request.reference)
      // Read first, as an id that is counted after its sign-in has completed stays counted.
      if (await store.get(keys.consent(id)) !== undefined) throw alreadyAnswered()
      const unfinished = await countUnfinished(store, id, { ip, maxPerAddress })
      // The mark outlives the form at a replica whose clock is a minute late.
      if (!await store.setIfAbsent(keys.consent(id), '', UNFINISHED_SECONDS)) throw alreadyAnswered()
      return { ...request, unfinished }
    }
  }
}

function alreadyAnswered (): SignInExpiredError {
  return consentExpired('the page was answered before')
}

function consentExpired (detail: string): SignInExpiredError {
  return new SignInExpiredError('This page has expired or was already answered', detail, 'consent_expired')
}

const BROWSER_COOKIE = 'browser-'

/** An hour: longer than a consent page can be answered. */
const BROWSER_COOKIE_SECONDS = 3_600

/**
 * Returns the cookie that tells browsers apart. A browser keeps its value, so that pages in its other tabs stay valid.
 * A new value gets a name of its own, so that two tabs that open at the same time do not overwrite each other's.
 */
function browserCookie (cookies: RequestCookies): BrowserCookie {
  const known = [...cookies].find(([name, value]) => name.startsWith(BROWSER_COOKIE) && /^[\w-]{22}$/.test(value))
  const [name, value] = known ?? [`${BROWSER_COOKIE}${randomId(6)}`, randomId(16)]
  return { name, value, maxAgeSeconds: BROWSER_COOKIE_SECONDS }
}

/** More than one if the browser's first consent pages were opened at the same time. */
function browserValues (cookies: RequestCookies): string[] {
  return [...cookies].flatMap(([name, value]) => name.startsWith(BROWSER_COOKIE) ? [value] : [])
}

/**
 * Refuses an answer that another site's page has sent. Browsers without Sec-Fetch-Site are accepted, as the cookie
 * decides.
 * @throws OAuthError access_denied
 */
export function checkSameOrigin (secFetchSite: string | undefined): void {
  if (secFetchSite === undefined || secFetchSite === 'same-origin') return
  throw new OAuthError('access_denied', 'The form was submitted by another web site', {
    statusCode: 403,
    causeCode: 'consent_other_site',
    detail: `Sec-Fetch-Site: ${secFetchSite.slice(0, 20)}`
  })
}

export interface ConsentDecisionServices {
  signIn: SignIn
  clients: Pick<Clients, 'keepAlive'>
  /** BASE_URL, in the mode whose metadata advertises `iss` in authorization responses (RFC 9207). */
  responseIssuer: string | undefined
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

/**
 * Continues the authorization: to the provider, or back to the client with `access_denied`.
 * @returns the next URL for the browser, and the cookie that it must bring back, if any
 * @throws OAuthError, SignInError, StoreUnavailableError
 */
export async function applyDecision (
  decision: 'approve' | 'deny',
  request: AllowedRequest,
  { signIn, clients, responseIssuer, redirectUriSchemes }: ConsentDecisionServices,
  step: TraceStep
): Promise<{ location: URL, cookie?: BrowserCookie }> {
  // By the current rules, so that no request of an earlier configuration leads to a redirect that is refused today.
  checkRegistrableRedirectUri(request.redirectUri, redirectUriSchemes)
  if (decision === 'deny') {
    const denied = new OAuthError('access_denied', 'The person did not allow the application', {
      causeCode: 'consent_denied'
    })
    step.error = denied
    return { location: errorRedirect(request, denied, responseIssuer) }
  }
  await clients.keepAlive(request.client)
  try {
    const next = await signIn.start(request)
    step.outcome = 'The person allowed it, and the browser was sent to the provider'
    return next
  } catch (err) {
    throw toSignInError(err, request, responseIssuer)
  }
}

/**
 * Describes a request for the consent page. The URL parser has already converted international hosts to punycode.
 * @param providerScopes the scopes that the provider is asked for, whatever the client asked for
 */
export function describeRequest (
  { client, redirectUri, scopes }: AuthorizationRequest, providerScopes: readonly string[]
) {
  const { protocol, host, hostname } = new URL(redirectUri)
  const isWeb = protocol === 'https:' || protocol === 'http:'
  const hostKind = isLoopbackHost(hostname) ? 'loopback' as const : 'web' as const
  // The authority of a private-use scheme counts too: it says which extension of an editor gets the code.
  const authority = redirectUri.startsWith(`${protocol}//`) ? `${protocol}//${host}` : protocol
  const destination = isWeb ? host : authority
  const start = isWeb ? `${protocol}//`.length : 0
  const describe = (name: string) => ({ name, description: describeScope(name) })
  return {
    clientName: client.name,
    clientKind: client.kind,
    documentHost: client.kind === 'document' ? new URL(client.id).host : undefined,
    destination,
    beforeDestination: redirectUri.slice(0, start),
    afterDestination: redirectUri.slice(start + destination.length),
    destinationKind: isWeb ? hostKind : 'app' as const,
    scopes: scopes.map(describe),
    staysConnected: client.refreshes,
    serverScopes: providerScopes.filter((name) => !scopes.includes(name)).map(describe)
  }
}
