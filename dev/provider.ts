import { createPublicKey, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import {
  CompactSign,
  calculateJwkThumbprint,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  jwtVerify
} from 'jose'
import { createAdapter } from './adapter.ts'
import { breakDown } from './faults.ts'
import { escapeHtml, page, sendPage, sendSignIn } from './pages.ts'
import { QUIRKS, claimsOf, fromAliases, toAliases } from './quirks.ts'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWK } from 'jose'
import type { AdapterPayload, Client, Context, Interaction, Provider, StructuredToken, Token } from 'oidc-provider'
import type { Fault } from './faults.ts'
import type { DevUser, Quirks, SigningKey, SpoiltToken } from './quirks.ts'

export { createAdapter } from './adapter.ts'
export type { Fault } from './faults.ts'
export type { DevUser, Quirks, SigningKey, SpoiltToken } from './quirks.ts'

/**
 * A real OpenID provider for `npm run dev` and for tests: `oidc-provider` with users, pages, keys and an
 * adapter of our own, plus the ways in which real providers differ (quirks) and break (faults).
 *
 * It hands out tokens for well-known passwords, so it listens on loopback and nowhere else.
 */

export interface DevProviderOptions {
  /** Loopback only. */
  host?: string
  /** 0 takes a free one. */
  port?: number
  clientId?: string
  /** The `aud` of access tokens. */
  audience?: string
  users?: DevUser[]
  /** The only redirect URIs there are, compared as strings, as Google, Okta and Auth0 do. Without, any on loopback. */
  fixedRedirectUris?: string[]
  /** The public keys of the client that authenticates with `private_key_jwt`; without them there is none. */
  clientPublicJwks?: { keys: JWK[] }
  quirks?: Partial<Quirks>
  accessTokenTtlSeconds?: number
  algorithm?: 'RS256' | 'ES256'
  log?: (line: string) => void
}

export interface DevProvider {
  issuer: string
  /**
   * The public client. This id with `-confidential` authenticates with `client_secret_basic`, with `-post` with
   * `client_secret_post`, both with the secret `dev-secret`, and with `-key` with `private_key_jwt`.
   */
  clientId: string
  /** May be changed: a user taken out can neither sign in nor refresh. */
  users: DevUser[]
  quirks: Quirks
  /** Signs with a new key from now on; the old public keys stay in the key set unless `keepOld` is false. */
  rotateKeys (options?: { keepOld: boolean }): Promise<void>
  /** An access token signed by the current key. Anything can be overridden, and removed with undefined. */
  mint (claims?: Record<string, unknown>, header?: Record<string, unknown>, key?: SigningKey): Promise<string>
  /** Ends the user's session, grants, codes, access tokens (at userinfo) and refresh tokens. */
  revoke (login: string): void
  /** Posts a logout token (OpenID Connect Back-Channel Logout) for the user's last sign-in; `uri` is on loopback. */
  backchannelLogout (login: string, uri: string, overrides?: Partial<SpoiltToken>): Promise<Response>
  /** The parameters of the last authorization request. */
  lastAuthorization (): Record<string, string>
  /** What the last token request sent, even one that met a fault. */
  lastTokenRequest (): TokenRequest
  /** Requests so far by endpoint: `/token`, `/jwks`, `/me`, `/token/revocation`, `/auth`, `/interaction/:uid`, … */
  hits (): Record<string, number>
  /** Breaks one endpoint, or all of them as `*`, until it is set to undefined. */
  setFault (endpoint: string, fault: Fault | undefined): void
  /** Closes the port and drops every connection. What was issued is still known after `start`. */
  stop (): Promise<void>
  /** Listens again, on the same port. */
  start (): Promise<void>
  close (): Promise<void>
}

export interface TokenRequest {
  form: Record<string, string>
  /** Of the Authorization header: `Basic`. */
  scheme: string | undefined
}

/** What may be listened on, and how it is written in a URL. */
const LOOPBACK = new Map([['127.0.0.1', '127.0.0.1'], ['localhost', 'localhost'], ['::1', '[::1]']])
const SCOPES = ['openid', 'profile', 'email', 'groups', 'offline_access', 'mcp:read', 'mcp:write', 'mcp:admin']
/** All access tokens are for the first of these, or for the second where they have to be opaque. */
const RESOURCE = 'urn:seed:dev'
const OPAQUE_RESOURCE = 'urn:seed:dev:opaque'
/** Microsoft Graph: what Entra makes a token for when it is not told what for. */
const ANOTHER_API = '00000003-0000-0000-c000-000000000000'
const AADSTS9010010 =
  "AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes."
const DAY = 86400
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

const USERS: DevUser[] = [
  { login: 'ada', password: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', groups: ['engineering', 'admins'] },
  { login: 'bob', password: 'bob', name: 'Bob', email: 'bob@example.com', groups: ['engineering'] }
]

/** Starts the provider; the promise is rejected for a host that is not loopback and for a port that is taken. */
export async function startDevProvider (options: DevProviderOptions = {}): Promise<DevProvider> {
  const { host = '127.0.0.1', port = 0, clientId = 'seed-dev', algorithm = 'RS256', log = () => {} } = options
  const { audience = clientId, accessTokenTtlSeconds = 3600, fixedRedirectUris, clientPublicJwks } = options
  const hostname = LOOPBACK.get(host)
  if (hostname === undefined) {
    throw new Error(
      'The development provider gives tokens to anyone who asks: ' +
        `it listens on ${[...LOOPBACK.keys()].join(', ')} and not on "${host}"`
    )
  }

  const oidc = await import('oidc-provider')
  const users = [...(options.users ?? USERS)]
  const quirks: Quirks = { ...QUIRKS, ...options.quirks }
  const store = createAdapter()
  /** Tokens that are JWTs are kept here by their `jti`, next to the opaque ones of `oidc-provider`. */
  const accessTokens = store.open('AccessToken')
  /** The parameters of authorization requests by the code they led to. */
  const requests = store.open('AuthorizationRequest')
  const lastSids = new Map<string, unknown>()
  const cookieKeys = [randomBytes(32).toString('base64url')]
  const hits: Record<string, number> = {}
  const faults = new Map<string, Fault>()
  let keys = [await createKey(algorithm)]
  let provider: Provider
  let handle: RequestListener
  let lastAuthorization: Record<string, string> = {}
  let lastTokenRequest: TokenRequest = { form: {}, scheme: undefined }

  const server = createServer((req, res) => {
    serve(req, res).catch((error: Error) => {
      log(`error ${error.stack}`)
      sendPage(
        res,
        400,
        'That did not work',
        '<p>This page is not, or no longer, part of a sign-in. ' +
          'Please start again from the application you came from.</p>'
      )
    })
  })
  await listen(port)
  const address = server.address() as AddressInfo
  const issuer = `http://${hostname}:${address.port}`
  swapProvider()

  return {
    issuer,
    clientId,
    users,
    quirks,
    async rotateKeys ({ keepOld } = { keepOld: true }) {
      const key = await createKey(algorithm)
      keys = keepOld ? [key, ...keys] : [key]
      swapProvider()
    },
    mint (claims = {}, header = {}, key) {
      const payload = {
        iss: tokenIssuer(),
        aud: audience,
        sub: 'ada',
        client_id: clientId,
        scope: 'openid mcp:read mcp:write',
        ...times(300),
        jti: randomUUID(),
        ...claims
      }
      return sign(payload, { typ: 'at+jwt', ...header }, key)
    },
    async backchannelLogout (login, uri, { claims = {}, header = {}, key } = {}) {
      if (!isLoopback(new URL(uri).hostname)) {
        throw new Error(`The development provider stays on loopback and was to send a logout token to ${uri}`)
      }
      const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
      const payload = {
        iss: tokenIssuer(),
        aud: clientId,
        sub: login,
        sid: lastSids.get(login),
        ...times(120),
        jti: randomUUID(),
        events,
        ...claims
      }
      const token = await sign(payload, { typ: 'logout+jwt', ...header }, key)
      return await fetch(uri, {
        method: 'POST',
        body: new URLSearchParams({ logout_token: token }),
        redirect: 'manual'
      })
    },
    lastAuthorization: () => ({ ...lastAuthorization }),
    lastTokenRequest: () => structuredClone(lastTokenRequest),
    revoke: store.revoke,
    hits: () => ({ ...hits }),
    setFault (endpoint, fault) {
      if (fault === undefined) faults.delete(endpoint)
      else faults.set(endpoint, fault)
    },
    stop,
    start: () => listen(address.port),
    close: stop
  }

  async function listen (port: number): Promise<void> {
    server.listen(port, host)
    await once(server, 'listening')
  }

  function stop (): Promise<void> {
    return new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }

  /** `oidc-provider` reads its keys once: new keys need a new instance with the old one's adapter and cookie keys. */
  function swapProvider (): void {
    provider = new oidc.Provider(issuer, configuration())
    provider.Client.prototype.redirectUriAllowed =
      fixedRedirectUris === undefined ? isLoopbackRedirect : (uri) => fixedRedirectUris.includes(uri)
    provider.Client.prototype.includeSid = () => true
    const { prototype } = provider.OIDCContext
    const audiences = prototype.clientJwtAuthExpectedAudience
    prototype.clientJwtAuthExpectedAudience = function () { return audiences.call(this).add(tokenIssuer()) }
    provider.registerGrantType(TOKEN_EXCHANGE, delegates('token-exchange', exchangeToken), [
      'subject_token',
      'subject_token_type',
      'requested_token_type',
      'audience',
      'scope'
    ])
    provider.registerGrantType(JWT_BEARER, delegates('on-behalf-of', onBehalfOf), [
      'assertion',
      'requested_token_use',
      'scope'
    ])
    provider.use(adjust)
    provider.on('authorization.success', ({ oidc }: Context, { code }: { code: string }) =>
      requests.upsert(code, { ...oidc.params }, 60)
    )
    provider.on('server_error', (_ctx, error: Error) => log(`error ${error.stack}`))
    handle = provider.callback()
  }

  async function serve (req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (quirks.issuerTemplate !== undefined) {
      req.url = req.url!.replace(/^\/([^/]+)\/v2\.0(\/\.well-known\/.+)/, '$2?tenant=$1')
    }
    const url = new URL(req.url!, issuer)
    const endpoint = url.pathname.replace(/^\/(auth|interaction)\/.+/, '/$1/:uid')
    hits[endpoint] = (hits[endpoint] ?? 0) + 1
    log(`${req.method} ${endpoint}`)
    if (endpoint === '/auth') lastAuthorization = Object.fromEntries(url.searchParams)
    const form = endpoint === '/token' ? new URLSearchParams(await text(req)) : undefined
    if (form !== undefined) {
      lastTokenRequest = { form: Object.fromEntries(form), scheme: req.headers.authorization?.split(' ')[0] }
    }

    const fault = faults.get(endpoint) ?? faults.get('*')
    if (fault !== undefined && await breakDown(fault, req, res)) return
    if (endpoint === '/interaction/:uid') await interact(req, res)
    else if (endpoint === '/me') await userinfo(req, res)
    else if (endpoint === '/token/revocation' && quirks.noRevocation) res.writeHead(404).end()
    else if (form !== undefined) exchange(req, form, res)
    else handle(req, res)
  }

  /** The token endpoint. */
  function exchange (req: IncomingMessage, form: URLSearchParams, res: ServerResponse): void {
    const scope = form.get('scope')
    if (quirks.refuseResource && form.has('resource')) {
      return sendJson(res, 400, { error: 'invalid_request', error_description: AADSTS9010010 })
    }
    if (quirks.scopeAliases && scope !== null) form.set('scope', fromAliases(scope))
    handle(withBody(req, form.toString()), res)
  }

  /** RFC 8693: an access token of this client's for one for another API. */
  async function exchangeToken ({ oidc: { params, client } }: Context): Promise<Record<string, unknown>> {
    const {
      subject_token: token = '',
      subject_token_type: type,
      requested_token_type: requested = ACCESS_TOKEN,
      audience = '',
      scope
    } = params
    if (type !== ACCESS_TOKEN || requested !== ACCESS_TOKEN) {
      throw new oidc.errors.InvalidRequest('access tokens are exchanged for access tokens')
    }
    const user = await findSubject(token, client)
    // Section 2.2.2: "invalid for any reason, or unacceptable based on policy".
    if (user === undefined) throw new oidc.errors.InvalidRequest('Invalid token')
    if (!quirks.exchangeAudiences.includes(audience)) throw new oidc.errors.InvalidTarget()
    const unknown = scope?.split(' ').find((name) => !SCOPES.includes(name))
    if (unknown !== undefined) throw new oidc.errors.InvalidScope(`Invalid scopes: ${unknown}`, unknown)
    return { ...await delegatedToken(user, audience, scope, client), issued_token_type: ACCESS_TOKEN }
  }

  /** Entra's form of it, from before RFC 8693. The token that is asserted must be for the client itself. */
  async function onBehalfOf ({ oidc: { params, client } }: Context): Promise<Record<string, unknown>> {
    const { assertion = '', requested_token_use: use, scope = '' } = params
    if (use !== 'on_behalf_of') {
      throw new oidc.errors.InvalidRequest(
        "AADSTS900144: The request body must contain the following parameter: 'requested_token_use'."
      )
    }
    const user = await findSubject(assertion, client)
    if (user === undefined || decodeJwt(assertion).aud !== audience) {
      throw new oidc.errors.InvalidGrant('AADSTS50013: Assertion failed signature validation.')
    }
    const scopes = scope.split(' ')
    const target = scopes[0]!.slice(0, scopes[0]!.lastIndexOf('/'))
    if (!quirks.exchangeAudiences.includes(target) || !scopes.every((name) => name.startsWith(`${target}/`))) {
      throw new oidc.errors.InvalidScope(
        'AADSTS70011: The provided value for the input parameter scope is not valid.',
        scope
      )
    }
    return await delegatedToken(user, target, scope.replaceAll(`${target}/`, ''), client)
  }

  /** The user of an access token that lives and was issued to this client. */
  async function findSubject (token: string, client: Client): Promise<DevUser | undefined> {
    const stored = await findAccessToken(token)
    return stored?.['clientId'] === client.clientId ? findUser(stored.accountId!) : undefined
  }

  async function delegatedToken (
    { login }: DevUser,
    audience: string,
    scope: string | undefined,
    { clientId }: Client
  ): Promise<Record<string, unknown>> {
    const lifetime = quirks.exchangedTtlSeconds
    const claims = {
      iss: tokenIssuer(),
      aud: audience,
      sub: login,
      azp: clientId,
      act: { sub: clientId },
      scope,
      ...times(lifetime),
      jti: randomUUID()
    }
    return {
      access_token: await sign(claims, { typ: 'at+jwt' }),
      token_type: 'Bearer',
      expires_in: lifetime,
      ...(scope !== undefined && { scope })
    }
  }

  /** One of the two grant types for it. */
  function delegates (
    form: Quirks['delegation'],
    handler: (ctx: Context) => Promise<Record<string, unknown>>
  ): (ctx: Context) => Promise<void> {
    return async (ctx) => {
      if (quirks.delegation !== form) throw new oidc.errors.UnsupportedGrantType()
      if (ctx.oidc.client.clientAuthMethod === 'none') {
        throw new oidc.errors.UnauthorizedClient('Public client is not allowed to exchange tokens')
      }
      ctx.body = await handler(ctx)
    }
  }

  /** In place of the one of `oidc-provider`, which refuses tokens that are meant for an API, and JWTs. */
  async function userinfo (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const token = /^Bearer (\S+)$/i.exec(req.headers.authorization ?? '')?.[1]
    const stored = token === undefined ? undefined : await findAccessToken(token)
    const user = stored && findUser(stored.accountId!)
    const scopes = new Set(String(stored?.['scope']).split(' '))
    const error = user === undefined ? 'invalid_token' : 'insufficient_scope'
    if (user !== undefined && scopes.has('openid')) {
      return sendJson(res, 200, { sub: user.login, ...standingClaims(), ...claimsOf(user, scopes, quirks) })
    }
    sendJson(res, user === undefined ? 401 : 403, { error }, { 'www-authenticate': `Bearer error="${error}"` })
  }

  /** What is known of an access token of ours that is neither expired nor revoked. */
  async function findAccessToken (token: string): Promise<AdapterPayload | undefined> {
    if (!token.includes('.')) return accessTokens.find(token)
    try {
      const { payload } = await jwtVerify(
        token,
        ({ kid }) => createPublicKey({ key: { ...keys.find((key) => key.kid === kid) }, format: 'jwk' }),
        { issuer: tokenIssuer(), typ: 'at+jwt' }
      )
      return await accessTokens.find(`${payload.jti}`)
    } catch {
      return undefined
    }
  }

  /** Signs the user in, and consents on their behalf: the client belongs to the company that runs the provider. */
  async function interact (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const interaction = await provider.interactionDetails(req, res)
    if (interaction.prompt.name === 'consent') {
      const accountId = interaction.session!.accountId
      return provider.interactionFinished(req, res, { consent: await consent(interaction, accountId) })
    }
    const hint = interaction.params['login_hint']
    if (req.method !== 'POST') return sendSignIn(res, users, hint)

    const form = new URLSearchParams(await text(req))
    const user = findUser(String(form.get('login')))
    if (user === undefined || user.password !== form.get('password')) {
      return sendSignIn(res, users, hint, 'That user name and password do not match. Please try again.')
    }
    await provider.interactionFinished(req, res, {
      login: { accountId: user.login },
      select_account: {},
      consent: await consent(interaction, user.login)
    })
  }

  async function consent ({ params }: Interaction, accountId: string): Promise<{ grantId: string }> {
    const grant = new provider.Grant({ accountId, clientId: params['client_id']! })
    grant.addOIDCScope(params['scope'] ?? '')
    grant.addResourceScope(RESOURCE, params['scope'] ?? '')
    grant.addResourceScope(OPAQUE_RESOURCE, params['scope'] ?? '')
    return { grantId: await grant.save() }
  }

  /** Changes what `oidc-provider` answered into what others would. */
  async function adjust (ctx: Context, next: () => Promise<void>): Promise<void> {
    await next()
    const body = ctx.body as Record<string, unknown> | undefined
    if (body?.['authorization_response_iss_parameter_supported'] === true) adjustDiscovery(ctx, body)
    if (ctx.path === '/jwks' && quirks.emptyJwks) ctx.body = { keys: [] }
    if (ctx.path === '/token' && quirks.noExpiresIn) delete body?.['expires_in']
    if (ctx.path === '/token' && typeof body?.['scope'] === 'string') await adjustTokens(ctx, body, body['scope'])
    const location = new URL(ctx.response.get('location'), issuer)
    if (location.searchParams.has('iss')) {
      if (quirks.issParameter) location.searchParams.set('iss', tokenIssuer())
      else location.searchParams.delete('iss')
      ctx.set('location', location.href)
    }
  }

  function adjustDiscovery ({ path, query }: Context, document: Record<string, unknown>): void {
    const tenant = quirks.issuerTemplate
    document['issuer'] =
      tenant === undefined || query['tenant'] === tenant ? tokenIssuer() : `${issuer}/{tenantid}/v2.0`
    if (faults.get(path) === 'wrong-issuer') document['issuer'] = `${issuer}/other`
    if (!quirks.issParameter) delete document['authorization_response_iss_parameter_supported']
    if (quirks.noRevocation) delete document['revocation_endpoint']
  }

  /** The ID token of `oidc-provider` says nothing of the user: that is added here, and all of it is signed again. */
  async function adjustTokens ({ oidc }: Context, response: Record<string, unknown>, scope: string): Promise<void> {
    if (quirks.scopeAliases) response['scope'] = toAliases(scope)
    const original = response['id_token']
    if (typeof original !== 'string') return
    const token = decodeJwt(original)
    const login = token.sub!
    if (oidc.params['grant_type'] === 'authorization_code') lastSids.set(login, token['sid'])
    const usual = {
      ...token,
      iss: tokenIssuer(),
      ...standingClaims(),
      ...(quirks.idTokenClaims ? claimsOf(findUser(login)!, new Set(scope.split(' ')), quirks) : {})
    }
    const { claims, header, key } = quirks.idToken?.(usual) ?? { claims: usual }
    response['id_token'] = await sign(claims, { ...decodeProtectedHeader(original), ...header }, key)
  }

  async function sign (
    claims: Record<string, unknown>,
    more: Record<string, unknown>,
    key: SigningKey = keys[0]!
  ): Promise<string> {
    const header = { alg: algorithm, kid: keys[0]!.kid!, ...more }
    if ((header.alg as string) === 'none') {
      return `${[header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`
    }
    return new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader(header).sign(key)
  }

  /** The `iss` of tokens. */
  function tokenIssuer (): string {
    if (quirks.issuerTemplate !== undefined) return `${issuer}/${quirks.issuerTemplate}/v2.0`
    return quirks.trailingSlashIssuer ? `${issuer}/` : issuer
  }

  /** Claims of all users, whatever the scopes. JSON leaves out those that are undefined. */
  function standingClaims (): Record<string, unknown> {
    return { hd: quirks.hostedDomain, tid: quirks.issuerTemplate }
  }

  function findUser (login: string): DevUser | undefined {
    return users.find((user) => user.login === login)
  }

  function configuration (): Record<string, unknown> {
    const client = {
      application_type: 'native',
      // Which ones are allowed is said elsewhere.
      redirect_uris: ['http://127.0.0.1/'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE, JWT_BEARER]
    }
    return {
      adapter: store.open,
      jwks: { keys },
      cookies: { keys: cookieKeys },
      clientDefaults: { id_token_signed_response_alg: algorithm },
      clients: [
        { ...client, client_id: clientId, token_endpoint_auth_method: 'none' },
        {
          ...client,
          client_id: `${clientId}-confidential`,
          client_secret: 'dev-secret',
          token_endpoint_auth_method: 'client_secret_basic'
        },
        {
          ...client,
          client_id: `${clientId}-post`,
          client_secret: 'dev-secret',
          token_endpoint_auth_method: 'client_secret_post'
        },
        ...(clientPublicJwks === undefined
          ? []
          : [
              {
                ...client,
                client_id: `${clientId}-key`,
                jwks: clientPublicJwks,
                token_endpoint_auth_method: 'private_key_jwt'
              }
            ])
      ],
      clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
      responseTypes: ['code'],
      scopes: SCOPES,
      // What discovery lists: the claims themselves are claimsOf.
      claims: {
        openid: ['sub'],
        profile: ['name', 'preferred_username'],
        email: ['email', 'email_verified'],
        groups: ['groups']
      },
      pkce: { required: () => true },
      allowOmittingSingleRegisteredRedirectUri: false,
      discovery: { backchannel_logout_supported: true, backchannel_logout_session_supported: true },
      extraParams: { nonce: checkNonce, scope: checkOfflineAccess, access_type: null, audience: null },
      findAccount (_ctx: Context, login: string) {
        return findUser(login) && { accountId: login, claims: () => ({}) }
      },
      extraTokenClaims: (_ctx: Context, { accountId, scopes }: Token) =>
        claimsOf(findUser(accountId)!, new Set(['profile', 'email', ...scopes]), quirks),
      formats: { customizers: { jwt: adjustAccessToken } },
      issueRefreshToken,
      rotateRefreshToken: ({ oidc: { client } }: Context) => quirks.rotateAlways || client.clientAuthMethod === 'none',
      expiresWithSession: () => false,
      interactions: { policy: prompts(), url: (_ctx: Context, { uid }: Interaction) => `/interaction/${uid}` },
      renderError (ctx: Context, { error, error_description: description }: Record<string, unknown>) {
        ctx.type = 'html'
        ctx.body = page(
          'The request was refused',
          `<p><strong>${escapeHtml(`${error}`)}</strong>: ${escapeHtml(`${description}`)}</p>`
        )
      },
      ttl: {
        AccessToken: accessTokenTtlSeconds,
        AuthorizationCode: 60,
        IdToken: 3600,
        RefreshToken: 14 * DAY,
        Interaction: 3600,
        Session: 14 * DAY,
        Grant: 14 * DAY
      },
      features: {
        devInteractions: { enabled: false },
        revocation: {
          enabled: true,
          allowedPolicy: (_ctx: Context, client: Client, token: Token) => token.clientId === client.clientId
        },
        resourceIndicators: {
          enabled: true,
          defaultResource: (ctx: Context) =>
            quirks.audienceParameter && ctx.oidc.params['audience'] !== audience ? OPAQUE_RESOURCE : RESOURCE,
          useGrantedResource: () => true,
          getResourceServerInfo (ctx: Context, resource: string) {
            if (quirks.refuseResource && ctx.query['resource'] !== undefined) {
              throw new oidc.errors.InvalidRequest(AADSTS9010010)
            }
            if (resource !== RESOURCE && resource !== OPAQUE_RESOURCE) throw new oidc.errors.InvalidTarget()
            const opaque = quirks.opaqueTokens || resource === OPAQUE_RESOURCE
            return { audience, scope: SCOPES.join(' '), accessTokenFormat: opaque ? 'opaque' : 'jwt' }
          }
        }
      }
    }
  }

  /** The usual prompts, and `select_account`, for which the sign-in page does as well. */
  function prompts (): unknown {
    const policy = oidc.interactionPolicy.base()
    policy.add(new oidc.interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 0)
    return policy
  }

  async function issueRefreshToken (ctx: Context, _client: Client, code: Token): Promise<boolean> {
    if (quirks.noRefreshToken) return false
    if (!quirks.offlineByParameter) return quirks.refreshWithoutConsent || code.scopes.has('offline_access')
    const request = await requests.find(ctx.oidc.params['code']!)
    return request?.['access_type'] === 'offline' && `${request['prompt']}`.split(' ').includes('consent')
  }

  /** Access tokens that are JWTs, before they are signed. */
  async function adjustAccessToken (
    { oidc: { params } }: Context,
    { accountId, clientId, grantId, scope }: Token,
    { payload }: StructuredToken
  ): Promise<void> {
    Object.assign(payload, { iss: tokenIssuer(), ...standingClaims() })
    if (quirks.refreshNeedsScope && params['grant_type'] === 'refresh_token' && params['scope'] === undefined) {
      payload['aud'] = ANOTHER_API
    }
    await accessTokens.upsert(`${payload['jti']}`, { accountId, clientId, grantId, scope }, accessTokenTtlSeconds)
  }

  function checkOfflineAccess (ctx: Context): void {
    if (quirks.refuseOfflineAccess && `${ctx.query['scope']}`.split(' ').includes('offline_access')) {
      throw new oidc.errors.InvalidScope(
        'Some requested scopes were invalid. {invalid=[offline_access]}',
        'offline_access'
      )
    }
  }

  function checkNonce (ctx: Context, nonce: string | undefined): void {
    if (quirks.requireNonce && nonce === undefined && ctx.oidc.params['scope']?.split(' ').includes('openid')) {
      throw new oidc.errors.InvalidRequest("missing required parameter 'nonce'")
    }
  }
}

async function createKey (algorithm: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const key = await exportJWK(privateKey)
  return { ...key, alg: algorithm, use: 'sig', kid: await calculateJwkThumbprint(key) }
}

function isLoopback (hostname: string): boolean {
  return [...LOOPBACK.values()].includes(hostname)
}

/** Any loopback address, port and path, as Keycloak and Authentik allow with a wildcard; nothing else. */
function isLoopbackRedirect (uri: string): boolean {
  if (!URL.canParse(uri)) return false
  const { protocol, hostname, username, hash } = new URL(uri)
  return protocol === 'http:' && isLoopback(hostname) && username === '' && hash === ''
}

/** The claims of a token that is made now. */
function times (lifetimeSeconds: number): { iat: number, exp: number } {
  const iat = Math.floor(Date.now() / 1000)
  return { iat, exp: iat + lifetimeSeconds }
}

/** The request with a body again once it was read: `oidc-provider` reads for itself, and warns about a `req.body`. */
function withBody (req: IncomingMessage, body: string): IncomingMessage {
  const bytes = Buffer.from(body)
  return Object.create(req, {
    headers: { value: { ...req.headers, 'content-length': `${bytes.length}` } },
    readable: { value: true },
    iterator: { value: () => [bytes] }
  })
}

function sendJson (res: ServerResponse, status: number, json: unknown, headers: Record<string, string> = {}): void {
  res
    .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers })
    .end(JSON.stringify(json))
}
