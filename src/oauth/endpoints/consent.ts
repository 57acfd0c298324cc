import { isLoopbackHost } from '../../net/addresses.ts'
import { digest, randomId, timingSafeEquals } from '../../crypto/hash.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { OtherBrowserError, SignInExpiredError } from '../../errors/sign-in-errors.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { Clients } from '../clients/clients.ts'
import type { AuthorizationRequest, BrowserCookie, SignIn } from '../modes/sign-in.ts'
import { errorRedirect } from '../protocol/authorization-response.ts'
import { checkRegistrableRedirectUri } from '../protocol/redirect-uri.ts'
import { describeScope } from '../protocol/scope.ts'

interface ConsentRecord {
  request: AuthorizationRequest
  browserHash: string
}

/** Cookies of a request, by name, in the browser's order. */
type RequestCookies = ReadonlyMap<string, string>

const CONSENT_TTL_SECONDS = 900

export type PendingConsents = ReturnType<typeof createPendingConsents>

/**
 * The authorization requests that wait for a person's consent. Consent is asked before the provider is involved, every
 * time and for every client (MCP security best practices, "Confused Deputy Problem"). A request is stored under an id
 * that only the page knows. It can be answered once, within 15 minutes, by the browser that was asked.
 */
export function createPendingConsents (store: Store) {
  return {
    /** Returns the id for the page's form, and the cookie that the answer must come with. */
    async create (
      request: AuthorizationRequest,
      cookies: RequestCookies
    ): Promise<{ id: string, cookie: BrowserCookie }> {
      const id = randomId(32)
      const cookie = browserCookie(cookies)
      const record: ConsentRecord = { request, browserHash: digest(cookie.value) }
      await store.set(keys.consent(digest(id)), JSON.stringify(record), CONSENT_TTL_SECONDS)
      return { id, cookie }
    },

    /**
     * Returns the request that is being answered; it cannot be answered again.
     * @throws SignInExpiredError, OtherBrowserError, StoreUnavailableError
     */
    async take (id: string, cookies: RequestCookies): Promise<AuthorizationRequest> {
      const key = keys.consent(digest(id))
      const stored = await store.get(key)
      if (stored === undefined) throw consentExpired()
      const { request, browserHash } = JSON.parse(stored) as ConsentRecord
      if (!browserValues(cookies).some((value) => timingSafeEquals(digest(value), browserHash))) {
        throw new OtherBrowserError('This page was opened in another browser, or this browser blocks cookies',
          'the cookie of the consent page is missing or is another one')
      }
      if (await store.take(key) === undefined) throw consentExpired()
      return request
    }
  }
}

function consentExpired (): SignInExpiredError {
  return new SignInExpiredError('This page has expired or was already answered', 'unknown consent id')
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
 * @throws OAuthError, ProviderUnavailableError, StoreUnavailableError
 */
export async function applyDecision (
  decision: 'approve' | 'deny',
  request: AuthorizationRequest,
  { signIn, clients, responseIssuer, redirectUriSchemes }: ConsentDecisionServices
): Promise<{ location: URL, cookie?: BrowserCookie }> {
  // By the current rules, so that no stored request leads to a redirect that is refused today.
  checkRegistrableRedirectUri(request.redirectUri, redirectUriSchemes)
  if (decision === 'deny') {
    const denied = new OAuthError('access_denied', 'The person did not allow the application')
    return { location: errorRedirect(request, denied, responseIssuer) }
  }
  await clients.keepAlive(request.client)
  return await signIn.start(request)
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
