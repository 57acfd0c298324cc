import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { CompactSign, calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { CryptoKey, JWK, KeyObject } from 'jose'
import type { Adapter, AdapterPayload, Client, Context, Interaction, Provider, Token } from 'oidc-provider'

/**
 * A real OpenID provider for `npm run dev` and for tests: `oidc-provider` with users, pages, keys and an
 * adapter of our own, plus the ways in which real providers differ (quirks) and break (faults).
 *
 * It hands out tokens for well-known passwords, so it listens on loopback and nowhere else.
 */

export interface DevUser {
  /** Also the `sub` of the user's tokens. */
  login: string
  password: string
  name: string
  email: string
  groups: string[]
}

/** How real providers differ. Read anew by each request, so a test may change them while the provider runs. */
export interface Quirks {
  /** Access tokens are opaque strings, as Google's and Okta's are. */
  opaqueTokens: boolean
  /** No refresh token, whatever was asked for. */
  noRefreshToken: boolean
  /** Refresh tokens without `offline_access` too; when false, only with it, and it is dropped unless `prompt=consent`. */
  refreshWithoutConsent: boolean
  /** Tokens carry no `groups`. */
  missingGroups: boolean
  /** The value of `email_verified`. */
  emailVerified: boolean
  /** Sends and advertises the `iss` authorization response parameter (RFC 9207). */
  issParameter: boolean
  /** Refuses `openid` requests without a `nonce`, in the code flow too. */
  requireNonce: boolean
}

/**
 * How an endpoint breaks: `down` drops the connection, `hang` never answers, `html` is 200 with a page,
 * `huge` 16 MiB of JSON of undeclared length, `redirect` a 302 to `/redirected`, `wrong-issuer` a discovery
 * document of somebody else, a number that status with an empty body, `slow` a delay in milliseconds before
 * the real answer, and `status` with `json` an answer made up by the test.
 */
export type Fault = 'down' | 'hang' | 'html' | 'huge' | 'redirect' | 'wrong-issuer' | number | { slow: number } | { status: number, json: unknown }

export interface DevProviderOptions {
  /** Loopback only. */
  host?: string
  /** 0 takes a free one. */
  port?: number
  clientId?: string
  /** The `aud` of access tokens. */
  audience?: string
  users?: DevUser[]
  quirks?: Partial<Quirks>
  accessTokenTtlSeconds?: number
  algorithm?: 'RS256' | 'ES256'
  log?: (line: string) => void
}

export interface DevProvider {
  issuer: string
  /** The public client. There is a confidential one too: this id with `-confidential`, and the secret `dev-secret`. */
  clientId: string
  /** May be changed: a user taken out can neither sign in nor refresh. */
  users: DevUser[]
  quirks: Quirks
  /** Signs with a new key from now on; the old public keys stay in the key set unless `keepOld` is false. */
  rotateKeys (options?: { keepOld: boolean }): Promise<void>
  /** An access token signed by the current key. Anything can be overridden, and removed with undefined. */
  mint (claims?: Record<string, unknown>, header?: Record<string, unknown>, key?: SigningKey): Promise<string>
  /** Ends the user's session, grants, codes and refresh tokens. */
  revoke (login: string): void
  /** Requests so far by endpoint: `/token`, `/jwks`, `/auth`, `/interaction/:uid`, … */
  hits (): Record<string, number>
  /** Breaks one endpoint, or all of them as `*`, until it is set to undefined. */
  setFault (endpoint: string, fault: Fault | undefined): void
  /** Closes the port and drops every connection. What was issued is still known after `start`. */
  stop (): Promise<void>
  /** Listens again, on the same port. */
  start (): Promise<void>
  close (): Promise<void>
}

export type SigningKey = CryptoKey | KeyObject | JWK | Uint8Array

/** What may be listened on, and how it is written in a URL. */
const LOOPBACK = new Map([['127.0.0.1', '127.0.0.1'], ['localhost', 'localhost'], ['::1', '[::1]']])
const SCOPES = ['openid', 'profile', 'email', 'groups', 'offline_access', 'mcp:read', 'mcp:write', 'mcp:admin']
const RESOURCE = 'urn:seed:dev'
const DAY = 86400

const USERS: DevUser[] = [
  { login: 'ada', password: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', groups: ['engineering', 'admins'] },
  { login: 'bob', password: 'bob', name: 'Bob', email: 'bob@example.com', groups: ['engineering'] }
]

const QUIRKS: Quirks = {
  opaqueTokens: false,
  noRefreshToken: false,
  refreshWithoutConsent: true,
  missingGroups: false,
  emailVerified: true,
  issParameter: false,
  requireNonce: true
}

/** Starts the provider; the promise is rejected for a host that is not loopback and for a port that is taken. */
export async function startDevProvider (options: DevProviderOptions = {}): Promise<DevProvider> {
  const { host = '127.0.0.1', port = 0, clientId = 'seed-dev', algorithm = 'RS256', log = () => {} } = options
  const { audience = clientId, accessTokenTtlSeconds = 3600 } = options
  const hostname = LOOPBACK.get(host)
  if (hostname === undefined) {
    throw new Error(`The development provider gives tokens to anyone who asks: it listens on ${[...LOOPBACK.keys()].join(', ')} and not on "${host}"`)
  }

  const oidc = await import('oidc-provider')
  const users = [...(options.users ?? USERS)]
  const quirks: Quirks = { ...QUIRKS, ...options.quirks }
  const store = createAdapter()
  const cookieKeys = [randomBytes(32).toString('base64url')]
  const hits: Record<string, number> = {}
  const faults = new Map<string, Fault>()
  let keys = [await createKey(algorithm)]
  let provider: Provider
  let handle: RequestListener

  const server = createServer((req, res) => {
    serve(req, res).catch((error: Error) => {
      log(`error ${error.stack}`)
      sendPage(res, 400, 'That did not work', '<p>This page is not, or no longer, part of a sign-in. Please start again from the application you came from.</p>')
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
    mint (claims = {}, header = {}, key = keys[0]!) {
      const now = Math.floor(Date.now() / 1000)
      const payload = { iss: issuer, aud: audience, sub: 'ada', client_id: clientId, scope: 'openid mcp:read mcp:write', iat: now, exp: now + 300, jti: randomUUID(), ...claims }
      return new CompactSign(Buffer.from(JSON.stringify(payload)))
        .setProtectedHeader({ alg: algorithm, typ: 'at+jwt', kid: keys[0]!.kid!, ...header })
        .sign(key)
    },
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

  /** `oidc-provider` reads its keys once: new keys mean a new instance, over the adapter and the cookie keys of the old one. */
  function swapProvider (): void {
    provider = new oidc.Provider(issuer, configuration())
    provider.Client.prototype.redirectUriAllowed = isLoopbackRedirect
    provider.use(adjust)
    provider.on('server_error', (_ctx, error: Error) => log(`error ${error.stack}`))
    handle = provider.callback()
  }

  async function serve (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const endpoint = new URL(req.url!, issuer).pathname.replace(/^\/(auth|interaction)\/.+/, '/$1/:uid')
    hits[endpoint] = (hits[endpoint] ?? 0) + 1
    log(`${req.method} ${endpoint}`)
    const fault = faults.get(endpoint) ?? faults.get('*')
    if (fault !== undefined && await breakDown(fault, req, res)) return
    if (endpoint === '/interaction/:uid') await interact(req, res)
    else handle(req, res)
  }

  /** Signs the user in, and consents on their behalf: the client belongs to the company that runs the provider. */
  async function interact (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const interaction = await provider.interactionDetails(req, res)
    if (interaction.prompt.name === 'consent') {
      const accountId = interaction.session!.accountId
      return provider.interactionFinished(req, res, { consent: await consent(interaction, accountId) })
    }
    if (req.method !== 'POST') return sendSignIn(res, users)

    const form = new URLSearchParams(await text(req))
    const user = findUser(String(form.get('login')))
    if (user === undefined || user.password !== form.get('password')) return sendSignIn(res, users, 'That user name and password do not match. Please try again.')
    await provider.interactionFinished(req, res, { login: { accountId: user.login }, consent: await consent(interaction, user.login) })
  }

  async function consent ({ params }: Interaction, accountId: string): Promise<{ grantId: string }> {
    const grant = new provider.Grant({ accountId, clientId: params['client_id']! })
    grant.addOIDCScope(params['scope'] ?? '')
    grant.addResourceScope(RESOURCE, params['scope'] ?? '')
    return { grantId: await grant.save() }
  }

  /** `oidc-provider` always speaks RFC 9207, and most providers do not; it also has no way to lie about its issuer. */
  async function adjust (ctx: Context, next: () => Promise<void>): Promise<void> {
    await next()
    const discovery = ctx.body as Record<string, unknown> | undefined
    if (discovery?.['authorization_response_iss_parameter_supported'] === true) {
      if (!quirks.issParameter) delete discovery['authorization_response_iss_parameter_supported']
      if (faults.get(ctx.path) === 'wrong-issuer') discovery['issuer'] = `${issuer}/other`
    }
    const location = new URL(ctx.response.get('location'), issuer)
    if (!quirks.issParameter && location.searchParams.has('iss')) {
      location.searchParams.delete('iss')
      ctx.set('location', location.href)
    }
  }

  function findUser (login: string): DevUser | undefined {
    return users.find((user) => user.login === login)
  }

  function claimsOf ({ login, name, email, groups }: DevUser): Record<string, unknown> {
    return { name, preferred_username: login, email, email_verified: quirks.emailVerified, ...(quirks.missingGroups ? {} : { groups }) }
  }

  function configuration (): Record<string, unknown> {
    const client = {
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token']
    }
    return {
      adapter: store.open,
      jwks: { keys },
      cookies: { keys: cookieKeys },
      clientDefaults: { id_token_signed_response_alg: algorithm },
      clients: [
        { ...client, client_id: clientId, token_endpoint_auth_method: 'none' },
        { ...client, client_id: `${clientId}-confidential`, client_secret: 'dev-secret', token_endpoint_auth_method: 'client_secret_basic' }
      ],
      clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post'],
      responseTypes: ['code'],
      scopes: SCOPES,
      claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
      pkce: { required: () => true },
      allowOmittingSingleRegisteredRedirectUri: false,
      extraParams: { nonce: checkNonce },
      findAccount (_ctx: Context, login: string) {
        const user = findUser(login)
        return user && { accountId: login, claims: () => claimsOf(user) }
      },
      extraTokenClaims: (_ctx: Context, token: Token) => claimsOf(findUser(token.accountId)!),
      issueRefreshToken: (_ctx: Context, _client: Client, code: Token) => !quirks.noRefreshToken && (quirks.refreshWithoutConsent || code.scopes.has('offline_access')),
      expiresWithSession: () => false,
      interactions: { url: (_ctx: Context, { uid }: Interaction) => `/interaction/${uid}` },
      renderError (ctx: Context, { error, error_description: description }: Record<string, unknown>) {
        ctx.type = 'html'
        ctx.body = page('The request was refused', `<p><strong>${escapeHtml(`${error}`)}</strong>: ${escapeHtml(`${description}`)}</p>`)
      },
      ttl: { AccessToken: accessTokenTtlSeconds, AuthorizationCode: 60, IdToken: 3600, RefreshToken: 14 * DAY, Interaction: 3600, Session: 14 * DAY, Grant: 14 * DAY },
      features: {
        devInteractions: { enabled: false },
        revocation: { enabled: true, allowedPolicy: (_ctx: Context, client: Client, token: Token) => token.clientId === client.clientId },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => RESOURCE,
          useGrantedResource: () => true,
          getResourceServerInfo (_ctx: Context, resource: string) {
            if (resource !== RESOURCE) throw new oidc.errors.InvalidTarget()
            return { audience, scope: SCOPES.join(' '), accessTokenFormat: quirks.opaqueTokens ? 'opaque' : 'jwt' }
          }
        }
      }
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

/** Any loopback address, port and path, as Keycloak and Authentik allow with a wildcard; nothing else. */
function isLoopbackRedirect (uri: string): boolean {
  if (!URL.canParse(uri)) return false
  const { protocol, hostname, username, hash } = new URL(uri)
  return protocol === 'http:' && [...LOOPBACK.values()].includes(hostname) && username === '' && hash === ''
}

/** True when the fault was the whole answer, or there is to be none (`hang`). */
async function breakDown (fault: Fault, req: IncomingMessage, res: ServerResponse): Promise<boolean> {
  if (typeof fault === 'number') res.writeHead(fault).end()
  else if (fault === 'down') req.socket.destroy()
  else if (fault === 'html') sendPage(res, 200, 'Hello', '<p>This is not what you asked for.</p>')
  else if (fault === 'redirect') res.writeHead(302, { location: '/redirected' }).end()
  else if (fault === 'huge') {
    res.writeHead(200, { 'content-type': 'application/json' }).write('{"filler":"')
    res.end(`${'a'.repeat(16 * 1024 * 1024)}"}`)
  } else if (typeof fault === 'object' && 'json' in fault) {
    res.writeHead(fault.status, { 'content-type': 'application/json' }).end(JSON.stringify(fault.json))
  } else if (typeof fault === 'object') {
    await sleep(fault.slow, undefined, { ref: false })
    return false
  }
  return fault !== 'wrong-issuer'
}

/**
 * Storage for `oidc-provider`, whose own forgets everything beyond 1,000 items, of which a sign-in leaves six.
 * Expired items are never served, and are swept out as often as the number of items doubles.
 */
export function createAdapter (sweepAt = 1000): { open: (model: string) => Adapter, revoke: (login: string) => void, size: () => number } {
  const items = new Map<string, { payload: AdapterPayload, expiresAt: number }>()

  const find = (key: string) => {
    const item = items.get(key)
    return item !== undefined && item.expiresAt > Date.now() ? item.payload : undefined
  }
  const deleteWhere = (matches: (payload: AdapterPayload, expiresAt: number) => boolean) => {
    for (const [key, { payload, expiresAt }] of items) if (matches(payload, expiresAt)) items.delete(key)
  }

  const open = (model: string): Adapter => ({
    async upsert (id, payload, expiresIn) {
      const item = { payload, expiresAt: Date.now() + expiresIn * 1000 }
      items.set(`${model}:${id}`, item)
      if (payload.uid !== undefined) items.set(`${model}:uid:${payload.uid}`, item)
      if (items.size > sweepAt) {
        deleteWhere((_payload, expiresAt) => expiresAt <= Date.now())
        sweepAt = Math.max(sweepAt, items.size * 2)
      }
    },
    find: async (id) => find(`${model}:${id}`),
    findByUid: async (uid) => find(`${model}:uid:${uid}`),
    async consume (id) {
      const payload = find(`${model}:${id}`)
      // Revoked between the look and the spending, by a request that ran at the same time.
      if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000)
    },
    async destroy (id) {
      const uid = items.get(`${model}:${id}`)?.payload.uid
      items.delete(`${model}:${id}`)
      items.delete(`${model}:uid:${uid}`)
    },
    async revokeByGrantId (grantId) { deleteWhere((payload) => payload.grantId === grantId) }
  })

  return { open, revoke: (login) => deleteWhere((payload) => payload.accountId === login), size: () => items.size }
}

function sendSignIn (res: ServerResponse, users: DevUser[], problem = ''): void {
  const rows = users.map(({ login, password, name }) => `<li>${escapeHtml(name)}: <code>${escapeHtml(login)}</code> / <code>${escapeHtml(password)}</code></li>`)
  sendPage(res, 200, 'Sign in', `${problem && `<p role="alert">${problem}</p>`}
<form method="post">
<label for="login">User name</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>
<p>Development users (user name / password):</p>
<ul>${rows.join('')}</ul>`)
}

function sendPage (res: ServerResponse, status: number, title: string, body: string): void {
  res.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    // No form-action: browsers apply it to the redirect after a form too, and that one leads to the client.
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
  }).end(page(title, body))
}

function page (title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} - development provider</title>
<style>
body { max-width: 24rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff }
label { display: block; margin-top: 1rem }
input, button { box-sizing: border-box; width: 100%; padding: .6rem; font: inherit }
button { margin-top: 1.5rem; color: #fff; background: #1f4f99; border: 0; border-radius: .3rem }
[role=alert] { color: #a40000 }
</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`
}

function escapeHtml (value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
