import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { JWK } from 'jose'
import type { Context, Provider as OidcProvider, StructuredToken, Token } from 'oidc-provider'
import { createStorage } from '../../dev/provider/adapter.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { check } from './checks.ts'
import { COMPANY_CLIENT, COMPANY_CLIENT_AT_SEED, enterpriseEnv, checkIdentityAssertions } from './company-client.ts'
import { ISS_LIMITS } from './provider.ts'
import type { Provider, RunningProvider, SeedUnderTest, StartOptions } from './provider.ts'

/** Has its claims from userinfo alone, which is for access tokens without a resource. */
const USERINFO_CLIENT = 'seed'
const RESOURCE_CLIENT = 'seed-key'
const SECRET = randomBytes(32).toString('base64url')
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag'
const ID_JAG_SECONDS = 120

const IDENTITY_ASSERTIONS = "Enterprise-Managed Authorization: the provider's ID-JAG for an ID token, at Seed without a browser"
const OTHER_SUBJECTS = 'this client has pairwise subjects: an ID-JAG names another subject than a sign-in'
const SERVER_IN_PROXY_MODE = 'in proxy mode the provider issues the access tokens, so the ID-JAG goes there'

/**
 * `oidc-provider` with its own pages, as strict as it can be: ID tokens are signed with ES256; one client has pairwise
 * subjects and its claims from signed userinfo only; from the others a request without `resource` is refused; and
 * authorization requests must be pushed (RFC 9126).
 */
export const STRICT_OIDC_PROVIDER: Provider = {
  name: 'oidc-provider',
  title: 'oidc-provider, strict',
  version: '9.13.3',

  // It is one of Seed's own packages.
  install: async () => {},

  async start (options) {
    const provider = new StrictProvider(options, await freePort())
    await provider.listen()
    return provider.running()
  }
}

class StrictProvider {
  readonly #options: StartOptions
  readonly #issuer: string
  readonly #storage = createStorage()
  readonly #cookieKeys = [randomBytes(32).toString('base64url')]
  readonly #clientKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #person = { name: 'Ada Lovelace', email: 'ada@example.com', groups: ['engineering', 'staff'] }
  #keys: JWK[] = []
  #browser = createBrowser()
  #server: Server | undefined
  #handle: RequestListener = () => {}

  constructor (options: StartOptions, port: number) {
    this.#options = options
    this.#issuer = `http://localhost:${port}`
  }

  /** Its keys and features are read once, so that every change needs a new instance. */
  async #build (): Promise<void> {
    const oidc = await import('oidc-provider')
    const provider = new oidc.Provider(this.#issuer, this.#configuration(oidc))
    registerIdentityAssertions(provider, oidc, this.#options.seedUrl)
    this.#handle = provider.callback()
  }

  #configuration ({ errors }: typeof import('oidc-provider')): Record<string, unknown> {
    return {
      adapter: this.#storage.open,
      jwks: { keys: this.#keys },
      cookies: { keys: this.#cookieKeys },
      clients: this.#clients(),
      clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
      enabledJWA: { clientAuthSigningAlgValues: ['ES256'], idTokenSigningAlgValues: ['ES256'] },
      subjectTypes: ['pairwise', 'public'],
      pairwiseIdentifier: (_ctx: unknown, accountId: string) => `pairwise-${accountId}`,
      scopes: ['openid', 'offline_access', 'profile', 'email'],
      claims: { openid: ['sub'], profile: ['name', 'groups'], email: ['email', 'email_verified'] },
      pkce: { required: () => true },
      conformIdTokenClaims: false,
      findAccount: ({ oidc: { client } }: Context, accountId: string) => ({
        accountId,
        claims: (use: string) => use === 'id_token' && client.clientId === USERINFO_CLIENT
          ? { sub: accountId }
          : { sub: accountId, email_verified: true, ...this.#person }
      }),
      formats: { customizers: { jwt: describeIdentityAssertion } },
      extraTokenClaims: () => ({ email_verified: true, ...this.#person }),
      // Without its protection from addresses of this machine, where Seed is.
      fetch: async (url: string, { dispatcher: _, ...init }: RequestInit & { dispatcher?: unknown }) =>
        await fetch(url, init),
      issueRefreshToken: () => true,
      rotateRefreshToken: true,
      expiresWithSession: () => false,
      ttl: {
        AccessToken: 300,
        AuthorizationCode: 60,
        IdToken: 300,
        Interaction: 600,
        Session: 3_600,
        Grant: 3_600,
        RefreshToken: 3_600
      },
      features: {
        revocation: { enabled: true },
        backchannelLogout: { enabled: true },
        jwtUserinfo: { enabled: true },
        pushedAuthorizationRequests: {
          enabled: true,
          requirePushedAuthorizationRequests: true
        },
        resourceIndicators: {
          enabled: true,
          defaultResource ({ oidc: { client } }: Context) {
            if (![USERINFO_CLIENT, COMPANY_CLIENT.clientId].includes(client.clientId)) throw new errors.InvalidTarget()
          },
          useGrantedResource: () => true,
          getResourceServerInfo: (_ctx: unknown, resource: string) => ({
            audience: resource,
            scope: 'openid profile email',
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'ES256' } }
          })
        }
      }
    }
  }

  #clients (): object[] {
    const { seedUrl, clientRedirectUris } = this.#options
    const common = {
      application_type: 'native',
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [`${seedUrl}/oauth/callback`],
      id_token_signed_response_alg: 'ES256',
      userinfo_signed_response_alg: 'ES256',
      backchannel_logout_uri: `${seedUrl}/oauth/backchannel-logout`,
      backchannel_logout_session_required: true
    }
    return [
      { ...common, client_id: USERINFO_CLIENT, client_secret: SECRET, subject_type: 'pairwise' },
      {
        ...common,
        client_id: RESOURCE_CLIENT,
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [this.#clientKey.publicKey.export({ format: 'jwk' })] }
      },
      {
        client_id: COMPANY_CLIENT.clientId,
        client_secret: COMPANY_CLIENT.clientSecret,
        token_endpoint_auth_method: 'client_secret_post',
        application_type: 'native',
        response_types: ['code'],
        grant_types: ['authorization_code', TOKEN_EXCHANGE],
        redirect_uris: [COMPANY_CLIENT.redirectUri],
        id_token_signed_response_alg: 'ES256'
      },
      {
        ...common,
        client_id: 'seed-proxy',
        token_endpoint_auth_method: 'none',
        redirect_uris: clientRedirectUris
      }
    ]
  }

  async listen (): Promise<void> {
    if (this.#keys.length === 0) this.#addKey()
    await this.#build()
    this.#server = createServer((req, res) => { this.#handle(req, res) })
    this.#server.listen(Number(new URL(this.#issuer).port), 'localhost')
    await once(this.#server, 'listening')
  }

  async #close (): Promise<void> {
    this.#server!.close()
    this.#server!.closeAllConnections()
    await once(this.#server!, 'close')
  }

  #addKey (): void {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const kid = randomBytes(8).toString('hex')
    this.#keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' } as JWK)
  }

  running (): RunningProvider {
    const { seedUrl } = this.#options
    const key = this.#clientKey.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
    return {
      issuer: this.#issuer,
      person: { ...this.#person, groups: ['engineering', 'staff'], group: 'engineering' },
      configurations: [
        {
          name: 'broker, signed userinfo, pairwise subjects',
          mode: 'broker',
          env: { OIDC_CLIENT_ID: USERINFO_CLIENT, OIDC_CLIENT_SECRET: SECRET, OIDC_ALGORITHMS: 'ES256' },
          limits: { [IDENTITY_ASSERTIONS]: OTHER_SUBJECTS }
        },
        {
          name: 'broker, `private_key_jwt`, `resource` demanded',
          mode: 'broker',
          env: {
            OIDC_CLIENT_ID: RESOURCE_CLIENT,
            OIDC_CLIENT_KEY: key,
            OIDC_ALGORITHMS: 'ES256',
            OIDC_RESOURCE: 'https://seed.example.com/mcp',
            ...enterpriseEnv()
          }
        },
        {
          name: 'proxy, `resource` demanded',
          mode: 'proxy',
          env: {
            OIDC_ALGORITHMS: 'ES256',
            OIDC_CLIENT_ID: 'seed-proxy',
            OIDC_AUDIENCE: `${seedUrl}/mcp`,
            OIDC_RESOURCE: `${seedUrl}/mcp`
          },
          limits: { ...ISS_LIMITS, [IDENTITY_ASSERTIONS]: SERVER_IN_PROXY_MODE }
        }
      ],
      signIn: async (url) => {
        this.#browser = createBrowser()
        return await this.#browser.signIn(url, { login: 'ada', password: 'ada' })
      },
      revokeRefreshTokens: async () => { this.#storage.revoke('ada') },
      restart: async () => {
        await this.#close()
        await this.listen()
      },
      rotateKeys: async () => {
        this.#addKey()
        await this.#build()
      },
      logOut: async () => { await this.#logOut() },
      removeFromGroup: async () => {
        this.#person.groups = ['staff']
        return async () => { this.#person.groups = ['engineering', 'staff'] }
      },
      checks: {
        'authorization requests are pushed (RFC 9126): any other is refused': async (seed) => {
          await this.#expectPushedRequests(seed)
        },
        [IDENTITY_ASSERTIONS]: async (seed) => {
          const signIn = async (url: URL): Promise<URL> =>
            await createBrowser().signIn(url, { login: 'ada', password: 'ada' })
          await checkIdentityAssertions(seed, this.#issuer, signIn)
          this.#addKey()
          await this.#build()
          await checkIdentityAssertions(seed, this.#issuer, signIn)
        }
      },
      stop: async () => { await this.#close() }
    }
  }

  /** In the browser of the last sign-in, as the person would. */
  async #logOut (): Promise<void> {
    const page = await this.#browser.get(`${this.#issuer}/session/end`)
    await this.#browser.submit(page.forms[0]!, { logout: 'yes' })
  }

  async #expectPushedRequests (seed: SeedUnderTest): Promise<void> {
    const { OIDC_CLIENT_ID: clientId } = seed.configuration.env
    const redirectUri = seed.configuration.mode === 'broker'
      ? `${this.#options.seedUrl}/oauth/callback`
      : this.#options.clientRedirectUris[0]!
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: clientId!,
      redirect_uri: redirectUri,
      scope: 'openid',
      code_challenge: randomBytes(32).toString('base64url'),
      code_challenge_method: 'S256'
    })
    const plain = await fetch(`${this.#issuer}/auth?${query}`, { redirect: 'manual' })
    const { searchParams } = new URL(plain.headers.get('location')!)
    check(searchParams.get('error_description') === 'Pushed Authorization Request must be used', `${searchParams}`)
    await seed.signIn()
  }
}

/**
 * Adds the exchange of an ID token for an ID-JAG: a token of the provider's own making for the company's client, with
 * its keys, its claims of the account, and another type.
 */
function registerIdentityAssertions (
  provider: OidcProvider, { errors }: typeof import('oidc-provider'), seedUrl: string
): void {
  provider.registerGrantType(TOKEN_EXCHANGE, async (ctx) => {
    const { params, client } = ctx.oidc
    if (params['requested_token_type'] !== ID_JAG) throw new errors.InvalidRequest('only ID-JAGs are issued')
    const { payload } = await provider.IdToken.validate(params['subject_token'] ?? '', client)
      .catch(() => { throw new errors.InvalidRequest('subject_token is not an ID token of this client') })
    if (payload.exp * 1_000 < Date.now()) throw new errors.InvalidRequest('the ID token has expired')
    if (params['audience'] !== seedUrl && params['audience'] !== `${seedUrl}/`) throw new errors.InvalidTarget()
    const token = new provider.AccessToken({
      client, accountId: payload.sub, gty: 'identity_assertion', scope: 'openid profile email'
    })
    token.resourceServer = new provider.ResourceServer(params['audience'], {
      audience: params['audience'],
      scope: 'openid profile email',
      accessTokenFormat: 'jwt',
      accessTokenTTL: ID_JAG_SECONDS,
      jwt: { sign: { alg: 'ES256' } }
    })
    token.extra = { email_verified: true, resource: params['resource'] }
    ctx.body = {
      access_token: await token.save(), issued_token_type: ID_JAG, token_type: 'N_A', expires_in: ID_JAG_SECONDS
    }
  }, ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'])
}

function describeIdentityAssertion (_ctx: unknown, token: Token, structured: StructuredToken): void {
  if (token.gty !== 'identity_assertion') return
  structured.header = { typ: 'oauth-id-jag+jwt' }
  structured.payload['client_id'] = COMPANY_CLIENT_AT_SEED
}
