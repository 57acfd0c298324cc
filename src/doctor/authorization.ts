import { createHash } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Config } from '../config/config.ts'
import { apiParameters, buildAuthorizationUrl } from '../provider/authorization-url.ts'
import { createProviderContact } from '../provider/contact.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { describeError } from '../provider/error-text.ts'
import { ISS_IN_PROXY_MODE, findUnlistedScopes } from '../provider/metadata-problems.ts'
import type { OAuthError } from '../errors/oauth-error.ts'
import { PushedRequestError, createPushedRequests } from '../provider/pushed-request.ts'
import { question } from './finding.ts'
import type { Finding, Question } from './finding.ts'
import { madeUp } from './token-endpoint.ts'
import { REQUEST_MS } from './within.ts'

/** Errors of a request that is right, while nobody is signed in (OpenID Connect Core 1.0 section 3.1.2.6). */
const NOBODY_SIGNED_IN = ['login_required', 'interaction_required', 'consent_required', 'account_selection_required']

/** In proxy mode the provider redirects to the client itself: to any port of this machine, for a native client. */
const NATIVE_REDIRECT_URI = 'http://localhost:53217/callback'

/**
 * Sends an authorization request with `prompt=none`, as a browser would: an error at the redirect URI shows that the
 * client and the redirect URI are right, a refusal (4xx) that one of them is not. A page with status 200 may be that of
 * the sign-in: some providers show it whatever was asked.
 */
export async function checkAuthorization (config: Config, metadata: ProviderMetadata): Promise<Finding[]> {
  const { oidc, oauth: { mode }, baseUrl } = config
  const redirectUri = mode === 'broker' ? `${baseUrl}/oauth/callback` : NATIVE_REDIRECT_URI
  const url = buildAuthorizationUrl(metadata, oidc.preset, {
    ...apiParameters(oidc),
    client_id: oidc.clientId,
    redirect_uri: redirectUri,
    state: madeUp(),
    nonce: madeUp(),
    code_challenge: createHash('sha256').update(madeUp()).digest('base64url')
  }, oidc.scopes)
  url.searchParams.set('prompt', 'none')
  const about = question('provider.authorization',
    `GET ${metadata.authorizationEndpoint} with prompt=none and redirect_uri=${redirectUri}`)
  const pushed = await push(config, metadata, url)
  if (pushed instanceof Error) return [readPushError(config, metadata, { error: pushed, redirectUri, about })]
  const { status, location } = await navigate(pushed)
  if (status < 300 || status >= 500) {
    return [about.unknown(`${status} and a page`, 'The provider shows a page of its own first, or fails on ' +
      'prompt=none, so whether it knows client and redirect URI is not known')]
  }
  if (location === undefined || status >= 400) {
    return [refusedRedirectUri(config, redirectUri, about, `${status} and no redirect`)]
  }
  if (!location.href.startsWith(`${redirectUri}?`)) {
    const target = `${status} to ${location.origin}${location.pathname}`
    return [about.unknown(target, 'The provider shows a page of its own first, so whether it knows client and ' +
      'redirect URI is not known')]
  }
  return [readError(config, metadata, location.searchParams, about), ...checkIss(config, metadata, location)]
}

/** Pushes the request as the server does (RFC 9126), if it does. */
async function push ({ oidc }: Config, metadata: ProviderMetadata, url: URL): Promise<URL | OAuthError> {
  // The finding says it.
  const ignore = (): void => {}
  const log = { warn: ignore, error: ignore }
  const pushIfWanted = createPushedRequests(
    { ...oidc, provider: () => metadata, contact: createProviderContact(), log }, {})
  return await pushIfWanted(url).catch((err: OAuthError) => err)
}

function readPushError (
  config: Config, metadata: ProviderMetadata, { error, redirectUri, about }: PushFailure
): Finding {
  const { detail } = error
  if (!(error instanceof PushedRequestError) || error.isClientRefused) {
    return about.unknown(detail!, 'The request could not be pushed to the provider: whether it knows the ' +
      'redirect URI is not known')
  }
  const [code, description] = [`${error.error}`, `${error.description}`]
  if (/redirect/i.test(code + description)) return refusedRedirectUri(config, redirectUri, about, detail!)
  return readError(config, metadata, new URLSearchParams({ error: code, error_description: description }), about)
}

interface PushFailure {
  error: OAuthError
  redirectUri: string
  about: Question
}

function refusedRedirectUri (
  { oauth: { mode }, oidc }: Config, uri: string, about: Question, answered: string
): Finding {
  const client = `The provider knows no client ${oidc.clientId} (OIDC_CLIENT_ID) with this redirect URI`
  return mode === 'broker'
    ? about.error(answered, `${client}: register ${uri} at the provider, byte for byte`, { setting: 'BASE_URL' })
    : about.warning(answered, `${client}: in proxy mode each MCP client's own redirect URI must be registered there, ` +
      'and native clients use any port of localhost. With OAUTH_MODE=broker one redirect URI is enough',
    { setting: 'OAUTH_MODE', value: 'broker' })
}

function readError (
  { oidc }: Config, metadata: ProviderMetadata, parameters: URLSearchParams, about: Question
): Finding {
  const [error, description] = [parameters.get('error') ?? '', parameters.get('error_description')]
  const answered = `at the redirect URI: ${describeError(error, description)}`
  if (NOBODY_SIGNED_IN.includes(error)) return about.ok(answered, 'The provider knows the client and its redirect URI')
  if (error === 'invalid_scope') {
    const unlisted = findUnlistedScopes(metadata, oidc)
    return about.error(answered, 'The provider refuses the scopes of OIDC_SCOPES', {
      setting: 'OIDC_SCOPES',
      value: unlisted.length === 0 ? undefined : oidc.scopes.filter((scope) => !unlisted.includes(scope)).join(' ')
    })
  }
  if (error === 'invalid_target' || (oidc.resource !== undefined && /resource/i.test(description ?? ''))) {
    return about.error(answered, 'The provider refuses the resource: set OIDC_RESOURCE to an API that it knows, or ' +
      'unset it',
    { setting: 'OIDC_RESOURCE' })
  }
  if (/pushed authorization/i.test(description ?? '')) {
    return about.error(answered, 'The provider requires pushed authorization requests (RFC 9126) of this client',
      { setting: 'OIDC_PAR', value: 'true' })
  }
  if (error === 'unauthorized_client' || error === 'unsupported_response_type') {
    return about.error(answered, 'The provider does not allow this client the authorization code flow: allow it there',
      { setting: 'OIDC_CLIENT_ID' })
  }
  return about.unknown(answered, 'The provider knows the redirect URI, and refuses the request: its words say why')
}

/** An `iss` that the discovery document does not promise (RFC 9207) is found only here. */
function checkIss (
  { oauth: { mode } }: Config, { sendsIss }: ProviderMetadata, location: URL
): Finding[] {
  if (mode === 'broker' || sendsIss || !location.searchParams.has('iss')) return []
  const about = question('provider.iss-in-answers', 'the same request')
  return [about.warning('iss at the redirect URI, which the document does not promise',
    'The provider adds "iss" (RFC 9207) to its redirects: in OAUTH_MODE=proxy ' + ISS_IN_PROXY_MODE,
    { setting: 'OAUTH_MODE', value: 'broker' })]
}

/** Sends a GET as a browser's navigation: to `fetch` some providers answer with JSON instead of a redirect. */
async function navigate (url: URL): Promise<{ status: number, location: URL | undefined }> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  return await new Promise((resolve, reject) => {
    const request = send(url, {
      agent: false,
      signal: AbortSignal.timeout(REQUEST_MS),
      headers: {
        accept: 'text/html,application/xhtml+xml',
        'sec-fetch-dest': 'document',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-site': 'cross-site',
        'user-agent': 'Mozilla/5.0 (Seed doctor)'
      }
    })
    request.on('error', reject)
    request.on('response', (response) => {
      const { statusCode, headers: { location = '' } } = response
      response.destroy()
      // An absent Location would parse as the URL itself.
      const isUrl = location !== '' && URL.canParse(location, url.href)
      resolve({ status: statusCode!, location: isUrl ? new URL(location, url) : undefined })
    })
    request.end()
  })
}
