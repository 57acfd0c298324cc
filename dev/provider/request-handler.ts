import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Context, Provider } from 'oidc-provider'
import { refuseClient, takeBasicAsItIs } from './client-checks.ts'
import { createConfiguration, resourceError } from './configuration.ts'
import { registerDelegation } from './delegation.ts'
import { createDeviations } from './deviations.ts'
import { breakDown } from './faults.ts'
import { interact } from './interactions.ts'
import { sendPage } from './pages.ts'
import { fromAliases } from './quirks.ts'
import { LOOPBACK_HOSTS, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'
import { sendJson, sendUserinfo } from './userinfo.ts'

export interface TokenRequest {
  form: Record<string, string>
  /** Scheme of the Authorization header: `Basic`. */
  scheme: string | undefined
}

/** Answers HTTP requests: counts them, lets them meet their faults, and hands the others on to `oidc-provider`. */
export function createRequestHandler (
  state: ProviderState, oidc: typeof import('oidc-provider'), log: (line: string) => void
) {
  const cookieKeys = [randomBytes(32).toString('base64url')]
  const seen = {
    hits: {} as Record<string, number>,
    authorization: {} as Record<string, string>,
    tokenRequest: { form: {}, scheme: undefined } as TokenRequest
  }
  let provider: Provider
  let forward: RequestListener
  swapProvider()

  /** `oidc-provider` reads its keys once: new keys need a new instance, with the storage and cookie keys of the old. */
  function swapProvider (): void {
    provider = new oidc.Provider(state.issuer, createConfiguration(state, oidc, cookieKeys))
    relaxClientChecks(provider, state)
    registerDelegation(provider, state, oidc.errors)
    provider.use(createDeviations(state))
    provider.on('authorization.success', async ({ oidc: { params } }: Context, { code }: { code: string }) => {
      await state.authorizationRequests.upsert(code, { ...params }, 60)
    })
    provider.on('server_error', (_ctx, error: Error) => log(`error ${error.stack}`))
    forward = provider.callback()
  }

  async function serve (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { quirks, faults } = state
    if (quirks.discoveryWithSlash && redirectToSlash(req, res)) return
    if (quirks.issuerTemplate !== undefined) {
      req.url = req.url!.replace(/^\/([^/]+)\/v2\.0(\/\.well-known\/.+)/, '$2?tenant=$1')
    }
    const url = new URL(req.url!, state.issuer)
    const endpoint = url.pathname.replace(/^\/(auth|interaction)\/.+/, '/$1/:uid')
    seen.hits[endpoint] = (seen.hits[endpoint] ?? 0) + 1
    log(`${req.method} ${endpoint}`)
    if (endpoint === '/auth') seen.authorization = Object.fromEntries(url.searchParams)
    const isAuthenticated = ['/token', '/token/revocation', '/request'].includes(endpoint)
    const form = isAuthenticated ? new URLSearchParams(await text(req)) : undefined
    if (form !== undefined && endpoint === '/token') {
      seen.tokenRequest = { form: Object.fromEntries(form), scheme: req.headers.authorization?.split(' ')[0] }
    }

    const fault = faults.get(endpoint) ?? faults.get('*')
    if (fault !== undefined && await breakDown(fault, req, res)) return
    if (endpoint === '/interaction/:uid') await interact(req, res, provider, state)
    else if (endpoint === '/me') await sendUserinfo(req, res, state)
    else if (endpoint === '/token/revocation' && quirks.noRevocation) res.writeHead(404).end()
    else if (form !== undefined) await forwardForm(req, form, res)
    else forward(req, res)
  }

  async function forwardForm (req: IncomingMessage, form: URLSearchParams, res: ServerResponse): Promise<void> {
    const clientRefusal = refuseClient(req, form, state)
    if (clientRefusal !== undefined && state.quirks.refusalEndsCode) {
      await state.storage.open('AuthorizationCode').destroy(`${form.get('code')}`)
    }
    if (clientRefusal?.json !== undefined) return sendJson(res, clientRefusal.status, clientRefusal.json)
    if (clientRefusal !== undefined) {
      res.writeHead(clientRefusal.status).end()
      return
    }
    if (state.quirks.undecodedBasic) takeBasicAsItIs(req)
    const refusal = resourceError(form, state)
    if (refusal !== undefined) return sendJson(res, 400, refusal)
    const scope = form.get('scope')
    if (state.quirks.scopeAliases && scope !== null) form.set('scope', fromAliases(scope))
    forward(withBody(req, form.toString()), res)
  }

  function handle (req: IncomingMessage, res: ServerResponse): void {
    serve(req, res).catch((error: Error) => {
      log(`error ${error.stack}`)
      sendPage(res, 400, 'That did not work', '<p>This page is not, or no longer, part of a sign-in. ' +
        'Please start again from the application you came from.</p>')
    })
  }

  return { seen, handle, swapProvider }
}

/** Serves the discovery document at its URL with a slash, and redirects its usual URL there. */
function redirectToSlash (req: IncomingMessage, res: ServerResponse): boolean {
  const usual = '/.well-known/openid-configuration'
  if (req.url === usual) {
    res.writeHead(301, { location: `${usual}/` }).end()
    return true
  }
  if (req.url === `${usual}/`) req.url = usual
  return false
}

/** Allows redirect URIs on loopback without registration, and client assertions for the issuer that tokens name. */
function relaxClientChecks (provider: Provider, state: ProviderState): void {
  const { fixedRedirectUris } = state
  provider.Client.prototype.redirectUriAllowed = fixedRedirectUris === undefined
    ? isLoopbackRedirect
    : (uri) => fixedRedirectUris.includes(uri)
  provider.Client.prototype.includeSid = () => true
  Object.defineProperty(provider.Client.prototype, 'requirePushedAuthorizationRequests', {
    get: () => state.quirks.pushedRequests !== undefined,
    set () {}
  })
  const { prototype } = provider.OIDCContext
  const expectedAudience = prototype.clientJwtAuthExpectedAudience
  prototype.clientJwtAuthExpectedAudience = function () {
    return expectedAudience.call(this).add(tokenIssuer(state))
  }
}

/** Any loopback address, port and path, as Keycloak and Authentik allow with a wildcard; nothing else. */
function isLoopbackRedirect (uri: string): boolean {
  if (!URL.canParse(uri)) return false
  const { protocol, hostname, username, hash } = new URL(uri)
  return protocol === 'http:' && LOOPBACK_HOSTS.includes(hostname) && username === '' && hash === ''
}

/** The request with its body again after it was read: `oidc-provider` reads it itself, and warns about `req.body`. */
function withBody (req: IncomingMessage, body: string): IncomingMessage {
  const bytes = Buffer.from(body)
  return Object.create(req, {
    headers: { value: { ...req.headers, 'content-length': `${bytes.length}` } },
    readable: { value: true },
    iterator: { value: () => [bytes] }
  })
}
