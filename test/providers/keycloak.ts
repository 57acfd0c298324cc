import { access, mkdir, rm } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import type { TestProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { createPlainClient } from '../support/sign-in.ts'
import { check, equal, nextSecond } from './checks.ts'
import { COMPANY_CLIENT, enterpriseEnv } from './company-client.ts'
import { download } from './download.ts'
import {
  SERVICE_CLIENT, checkIdentityAssertionAtKeycloak, checkService, expectNoIdentityAssertions, startTrustedIssuer
} from './keycloak-grants.ts'
import type { TrustedIssuer } from './keycloak-grants.ts'
import { FORBIDDEN_API, PERMITTED_API, SERVICE_AT_SEED, startMountedServers } from './keycloak-mounts.ts'
import type { MountedServers } from './keycloak-mounts.ts'
import { LEVELS, checkStepUp, createStepUpFlow } from './keycloak-step-up.ts'
import { ISS_LIMITS } from './provider.ts'
import type { Configuration, Provider, RunningProvider, SeedUnderTest, StartOptions } from './provider.ts'

const VERSION = '26.7.3'
const DISTRIBUTION = 'https://repo1.maven.org/maven2/org/keycloak/keycloak-quarkus-dist/' +
  `${VERSION}/keycloak-quarkus-dist-${VERSION}.tar.gz`
const SECRET = 'keycloak-secret_with.marks~and*more'
const ADMIN = 'admin'
const PASSWORD = 'ada-password'
/** Keycloak's `iss` in answers is left out for the proxy mode's client alone. */
const PROXY_CLIENT = 'seed-proxy'
/** Keycloak sends it as RFC 9207 says. */
const PROXY_CLIENT_WITH_ISS = 'seed-proxy-iss'
const TOOLS = ['exchanged-token.js', 'for-groups.js', 'step-up.js']
  .map((name) => join(ROOT, '.test-build/test/providers/tools', name)).join(',')

const JAVA_OPTIONS = [
  '-Xms64m',
  '-Xmx512m',
  // Its life is short: the slower compiler would cost more than its code saves.
  '-XX:TieredStopAtLevel=1',
  '-XX:+UseSerialGC',
  '-Djava.util.logging.manager=org.jboss.logmanager.LogManager',
  '-Djava.util.concurrent.ForkJoinPool.common.threadFactory=' +
    'io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory',
  ...['util', 'util.concurrent', 'security', 'lang'].map((name) => `--add-opens=java.base/java.${name}=ALL-UNNAMED`)
]

/** The attribute of a client that may exchange tokens. */
const TOKEN_EXCHANGE = 'standard.token.exchange.enabled'
/** Wrong passwords until an account is locked. */
const FAILURES = 3
const EXCHANGE = 'a tool gets a token for another API (standard token exchange)'
const MOUNT_FOR_PERSON = "a mounted server gets the person's own token for it (`identity.tokenFor`)"
const MOUNT_FOR_SERVICE = "a service gets an error there, or Seed's own token where the mount allows it"
const MOUNT_REFUSED = 'an exchange that Keycloak refuses: the error and the log say what to allow'
const STEP_UP = 'a tool demands the level `gold`, a client `max_age` and `prompt=login`: the person is asked (RFC 9470)'
const ONE_REALM =
  'tested in the second column: with `offline_access` Keycloak keeps no session of the browser, and asks each time'
const NO_STEP_UP = 'in proxy mode clients would have to send what the tool demands, and do not'
const NO_ID_JAGS = 'Keycloak issues no ID-JAGs, and Seed takes no other token of it in their place'
const ID_JAG_AT_KEYCLOAK =
  'an ID-JAG of an issuer that Keycloak trusts becomes its access token, which reaches `whoami`'
const SERVICE = 'a service with client credentials of Keycloak reaches `whoami`'
const IN_PROXY_MODE = 'the client gets its access token from Keycloak itself in proxy mode'
const IN_BROKER_MODE = 'Seed issues the access tokens in broker mode, and trusts the ID-JAGs of `OIDC_ISSUER` alone'
const ONE_CLIENT = 'tested in the first column of this mode'
const IN_FIRST_COLUMN = 'tested in the first column'
const GROUPS = 'tools for a group: for its members alone, by its name or its full path'
const WARNED = 'the start warns of http and of `iss` in answers'
const NOTHING_TO_WARN_OF = 'http is for this machine only here, and `iss` reaches Seed'
const NO_SECRET = 'Keycloak exchanges tokens only for a confidential client, and Seed only in broker mode'
const OFFLINE_LOGOUT = 'with `offline_access` Keycloak has an offline session, whose end it announces to nobody: ' +
  'the next refresh finds out. Leave `offline_access` out of `OIDC_SCOPES` to have back-channel logout'

const ONLINE_SCOPES = 'openid profile email'

/** An experimental feature (26.7): Keycloak takes ID-JAGs of other issuers by the grant type jwt-bearer. */
const FEATURES = 'identity-assertion-jwt'
/** The alias of the other issuer in the realms, and Ada's subject there. */
const TRUSTED = 'company'
const SUBJECT_AT_TRUSTED = 'ada-at-the-company'

/** Says that a token is a service's (docs/proxy-mode.md): the `sub` of a service account says nothing. */
const SERVICE_MAPPER = {
  name: 'service',
  protocol: 'openid-connect',
  protocolMapper: 'oidc-hardcoded-claim-mapper',
  config: {
    'claim.name': 'gty',
    'claim.value': 'client-credentials',
    'jsonType.label': 'String',
    'access.token.claim': 'true'
  }
}

/** A realm with its own way to rotate refresh tokens and to name groups. */
interface Realm {
  name: string
  rotatesRefreshTokens: boolean
  groupPaths: boolean
}

const PLAIN: Realm = { name: 'plain', rotatesRefreshTokens: false, groupPaths: false }
const ROTATING: Realm = { name: 'rotating', rotatesRefreshTokens: true, groupPaths: true }

/** Keycloak from its distribution on Maven Central, with its embedded database. It needs Java 17 or later. */
export const KEYCLOAK: Provider = {
  name: 'keycloak',
  title: 'Keycloak',
  version: VERSION,

  async install (cacheFolder) {
    const archive = join(cacheFolder, `${VERSION}.tar.gz`)
    const home = join(cacheFolder, VERSION)
    const done = join(home, `built with ${FEATURES}`)
    if (await exists(done)) return
    if (!await exists(archive)) await download(DISTRIBUTION, archive)
    await rm(home, { recursive: true, force: true })
    await mkdir(home)
    const run = promisify(execFile)
    await run('tar', ['xzf', archive, '-C', home, '--strip-components=1'])
    await run(join(home, 'bin/kc.sh'), ['build', '--db=dev-file', '--cache=local', `--features=${FEATURES}`], { cwd: home })
    await mkdir(done)
    await rm(archive)
  },

  async start (options) {
    const server = new KeycloakServer(options, await freePort(), await startTrustedIssuer())
    await server.start()
    for (const realm of [PLAIN, ROTATING]) await server.createRealm(realm)
    await server.createLevels(ROTATING)
    return await server.running()
  }
}

class KeycloakServer {
  readonly #options: StartOptions
  readonly #url: string
  /** An address of this machine that Seed takes for another one's, such as a service of the cluster has. */
  readonly #clusterUrl: string
  readonly #trusted: TrustedIssuer
  #process: TestProcess | undefined
  #keys = 0

  constructor (options: StartOptions, port: number, trusted: TrustedIssuer) {
    this.#options = options
    this.#trusted = trusted
    this.#url = `http://127.0.0.1:${port}`
    this.#clusterUrl = `http://[::ffff:127.0.0.1]:${port}`
  }

  async start (): Promise<void> {
    const { cacheFolder, dataFolder, spawn } = this.#options
    const home = join(cacheFolder, VERSION)
    const { port } = new URL(this.#url)
    // Not by bin/kc.sh, whose process would leave Java behind when it is killed.
    this.#process = spawn('java', [
      ...JAVA_OPTIONS,
      `-Dkc.home.dir=${home}`,
      `-Djboss.server.config.dir=${home}/conf`,
      '-cp', `${home}/lib/quarkus-run.jar`,
      'io.quarkus.bootstrap.runner.QuarkusEntryPoint',
      'start', '--optimized', '--http-enabled=true', '--http-host=127.0.0.1', `--http-port=${port}`,
      `--hostname=${this.#url}`, '--hostname-backchannel-dynamic=true', `--db-url=jdbc:h2:file:${dataFolder}/keycloak;NON_KEYWORDS=VALUE`
    ], { HOME: dataFolder, KC_BOOTSTRAP_ADMIN_USERNAME: ADMIN, KC_BOOTSTRAP_ADMIN_PASSWORD: ADMIN }, dataFolder)
    await this.#process.printed(/Listening on: /)
  }

  async stop (): Promise<void> {
    this.#process!.child.kill('SIGTERM')
    await this.#process!.ended
  }

  async createRealm ({ name, rotatesRefreshTokens, groupPaths }: Realm): Promise<void> {
    await this.#admin('POST', '/admin/realms', {
      realm: name,
      enabled: true,
      revokeRefreshToken: rotatesRefreshTokens,
      refreshTokenMaxReuse: 0,
      bruteForceProtected: true,
      failureFactor: FAILURES,
      groups: [{ name: 'engineering', subGroups: [{ name: 'backend' }] }],
      clients: this.#clients(groupPaths)
    })
    // Unlike a user in the representation of a realm, this one gets the default roles, `offline_access` among them.
    await this.#admin('POST', `/admin/realms/${name}/users`, {
      username: 'ada',
      enabled: true,
      firstName: 'Ada',
      lastName: 'Lovelace',
      email: 'ada@example.com',
      emailVerified: true,
      credentials: [{ type: 'password', value: PASSWORD }],
      groups: ['/engineering', '/engineering/backend']
    })
    await this.#trustIssuer(name)
  }

  /** Lets Seed's client in a realm ask for levels of authentication. */
  async createLevels (realm: Realm): Promise<void> {
    const browser = await createStepUpFlow((...request) => this.#admin(...request), `/admin/realms/${realm.name}`)
    await this.#changeSeedClient(realm, { authenticationFlowBindingOverrides: { browser } }, LEVELS)
  }

  /** Lets the realm take ID-JAGs of the other issuer, for Ada, and puts the service into the group. */
  async #trustIssuer (realm: string): Promise<void> {
    const { issuer, jwksUrl } = this.#trusted
    await this.#admin('POST', `/admin/realms/${realm}/identity-provider/instances`, {
      alias: TRUSTED,
      providerId: 'jwt-authorization-grant',
      enabled: true,
      config: {
        issuer,
        useJwksUrl: 'true',
        jwksUrl,
        jwtAuthorizationGrantEnabled: 'true',
        jwtAuthorizationGrantAssertionSignatureAlg: 'ES256'
      }
    })
    const path = `/admin/realms/${realm}`
    const link = { userId: SUBJECT_AT_TRUSTED, userName: 'ada' }
    await this.#admin('POST', `${await this.#userPath(realm)}/federated-identity/${TRUSTED}`, link)
    const service = await this.#userPath(realm, `service-account-${SERVICE_CLIENT.clientId}`)
    const [group] = await this.#admin('GET', `${path}/groups`) as Array<{ id: string }>
    await this.#admin('PUT', `${service}/groups/${group!.id}`)
  }

  #clients (groupPaths: boolean): object[] {
    const { seedUrl, clientRedirectUris } = this.#options
    const groups = {
      name: 'groups',
      protocol: 'openid-connect',
      protocolMapper: 'oidc-group-membership-mapper',
      config: {
        'claim.name': 'groups',
        'full.path': String(groupPaths),
        'id.token.claim': 'true',
        'access.token.claim': 'true',
        'userinfo.token.claim': 'true'
      }
    }
    const audience = (client: string): object => ({
      name: `audience ${client}`,
      protocol: 'openid-connect',
      protocolMapper: 'oidc-audience-mapper',
      config: { 'included.client.audience': client, 'access.token.claim': 'true' }
    })
    const logout = {
      'backchannel.logout.url': `${seedUrl}/oauth/backchannel-logout`,
      'backchannel.logout.session.required': 'true'
    }
    const client = (clientId: string, settings: object): object => ({
      clientId,
      protocol: 'openid-connect',
      standardFlowEnabled: true,
      directAccessGrantsEnabled: false,
      redirectUris: [`${seedUrl}/oauth/callback`],
      protocolMappers: [groups],
      ...settings
    })
    return [
      { clientId: PERMITTED_API, protocol: 'openid-connect', bearerOnly: true },
      { clientId: FORBIDDEN_API, protocol: 'openid-connect', bearerOnly: true },
      client(COMPANY_CLIENT.clientId, {
        publicClient: false,
        secret: COMPANY_CLIENT.clientSecret,
        redirectUris: [COMPANY_CLIENT.redirectUri],
        attributes: {
          [TOKEN_EXCHANGE]: 'true',
          'oauth2.jwt.authorization.grant.enabled': 'true',
          'oauth2.jwt.authorization.grant.idp': TRUSTED
        },
        protocolMappers: [groups, audience(PERMITTED_API), audience(PROXY_CLIENT)]
      }),
      client(SERVICE_CLIENT.clientId, {
        publicClient: false,
        secret: SERVICE_CLIENT.clientSecret,
        standardFlowEnabled: false,
        serviceAccountsEnabled: true,
        redirectUris: [],
        protocolMappers: [groups, audience(PROXY_CLIENT), SERVICE_MAPPER]
      }),
      client('seed', {
        publicClient: false,
        secret: SECRET,
        serviceAccountsEnabled: true,
        attributes: { ...logout, [TOKEN_EXCHANGE]: 'true' },
        protocolMappers: [groups, audience(PERMITTED_API)]
      }),
      client('seed-public', { publicClient: true, attributes: { ...logout, 'pkce.code.challenge.method': 'S256' } }),
      client(PROXY_CLIENT, {
        publicClient: true,
        redirectUris: clientRedirectUris,
        attributes: { ...logout, 'pkce.code.challenge.method': 'S256', 'exclude.issuer.from.auth.response': 'true' },
        protocolMappers: [groups, audience(PROXY_CLIENT)]
      }),
      client(PROXY_CLIENT_WITH_ISS, {
        publicClient: true,
        redirectUris: clientRedirectUris,
        attributes: { ...logout, 'pkce.code.challenge.method': 'S256' },
        protocolMappers: [groups, audience(PROXY_CLIENT_WITH_ISS)]
      })
    ]
  }

  async running (): Promise<RunningProvider> {
    const mounted = await startMountedServers(this.#issuer(PLAIN))
    return {
      issuer: this.#issuer(PLAIN),
      configurations: this.#configurations(mounted),
      person: {
        name: 'Ada Lovelace',
        email: 'ada@example.com',
        groups: ['engineering', 'backend'],
        group: 'engineering'
      },
      signIn: signInAs(PASSWORD),
      revokeRefreshTokens: async () => { await this.#everywhere((realm) => this.#revokeRefreshTokens(realm)) },
      restart: async () => {
        await this.stop()
        await this.start()
      },
      rotateKeys: async () => { await this.#everywhere((realm) => this.#rotateKeys(realm)) },
      logOut: async () => { await this.#everywhere((realm) => this.#signOutAllSessions(realm)) },
      removeFromGroup: async () => await this.#removeFromGroup(),
      checks: {
        [EXCHANGE]: exchangeToken,
        [MOUNT_FOR_PERSON]: mounted.checks.person,
        [MOUNT_FOR_SERVICE]: mounted.checks.service,
        [MOUNT_REFUSED]: async (seed) => {
          await mounted.checks.refusal(seed, async (act) => { await this.#withoutTokenExchange(act) })
        },
        [STEP_UP]: async (seed) => { await checkStepUp(seed, 'ada', PASSWORD) },
        [GROUPS]: checkGroups,
        [NO_ID_JAGS]: async (seed) => {
          await expectNoIdentityAssertions(seed, this.#issuer(PLAIN), signInAs(PASSWORD))
        },
        [ID_JAG_AT_KEYCLOAK]: async (seed) => {
          await checkIdentityAssertionAtKeycloak(seed, this.#issuer(PLAIN), this.#trusted, SUBJECT_AT_TRUSTED)
        },
        [SERVICE]: async (seed) => { await checkService(seed, this.#issuer(PLAIN)) },
        [WARNED]: async ({ configuration: { mode }, output }) => {
          const warning = mode === 'proxy' ? /in OAUTH_MODE=proxy/ : /OIDC_ALLOW_INSECURE_HTTP=true/
          check(warning.test(await output()), `the log has ${String(warning)}`)
        },
        'an administrator signs out all sessions: `invalid_grant`': async (seed) => {
          const signedIn = await seed.signIn()
          await nextSecond()
          await this.#everywhere((realm) => this.#signOutAllSessions(realm))
          await seed.expectDeadRefreshToken(signedIn)
        },
        'not-before of the realm: `invalid_grant`': (seed) => this.#setNotBefore(seed),
        'brute-force lockout: signed in before, still in; a new sign-in waits': (seed) => this.#lockOut(seed)
      },
      stop: async () => {
        await this.stop()
        this.#trusted.close()
        await mounted.close()
      }
    }
  }

  #configurations (mounted: MountedServers): Configuration[] {
    const confidential = { OIDC_CLIENT_ID: 'seed', OIDC_CLIENT_SECRET: SECRET }
    const offline = { logOut: OFFLINE_LOGOUT }
    const broker = { [ID_JAG_AT_KEYCLOAK]: IN_BROKER_MODE, [SERVICE]: IN_BROKER_MODE }
    const mounts = (why: string) => ({ [MOUNT_FOR_PERSON]: why, [MOUNT_FOR_SERVICE]: why, [MOUNT_REFUSED]: why })
    const otherBroker = { ...broker, ...mounts(IN_FIRST_COLUMN), [NO_ID_JAGS]: ONE_CLIENT }
    const proxy = { ...mounts(NO_SECRET), [STEP_UP]: NO_STEP_UP, [NO_ID_JAGS]: IN_PROXY_MODE }
    const otherProxy = { ...proxy, [ID_JAG_AT_KEYCLOAK]: ONE_CLIENT, [SERVICE]: ONE_CLIENT }
    const configurations: Configuration[] = [
      {
        name: 'broker',
        mode: 'broker',
        env: { ...confidential, ...enterpriseEnv([SERVICE_AT_SEED]) },
        mounts: mounted.file,
        limits: { ...offline, ...broker, [STEP_UP]: ONE_REALM, [WARNED]: NOTHING_TO_WARN_OF }
      },
      {
        name: 'broker, rotation, full group paths, without `offline_access`',
        mode: 'broker',
        env: { ...confidential, OIDC_ISSUER: this.#issuer(ROTATING), OIDC_SCOPES: ONLINE_SCOPES },
        person: { groups: ['engineering', 'engineering/backend'] },
        limits: { ...otherBroker, [WARNED]: NOTHING_TO_WARN_OF }
      },
      {
        name: 'broker, public client, http in a cluster',
        mode: 'broker',
        env: {
          OIDC_CLIENT_ID: 'seed-public',
          OIDC_DISCOVERY_URL: `${this.#clusterUrl}/realms/plain/.well-known/openid-configuration`,
          OIDC_ALLOW_INSECURE_HTTP: 'true'
        },
        limits: { ...offline, ...otherBroker, ...mounts(NO_SECRET), [STEP_UP]: ONE_REALM, [EXCHANGE]: NO_SECRET }
      },
      {
        name: 'proxy',
        mode: 'proxy',
        env: { OIDC_AUDIENCE: PROXY_CLIENT },
        limits: { ...offline, ...proxy, [EXCHANGE]: NO_SECRET }
      },
      {
        name: 'proxy, `iss` in answers, without `offline_access`',
        mode: 'proxy',
        env: { OIDC_AUDIENCE: PROXY_CLIENT_WITH_ISS, OIDC_SCOPES: ONLINE_SCOPES },
        limits: { ...ISS_LIMITS, ...otherProxy, [EXCHANGE]: NO_SECRET }
      }
    ]
    return configurations.map((configuration) => ({ ...configuration, extensions: TOOLS }))
  }

  #issuer ({ name }: Realm): string {
    return `${this.#url}/realms/${name}`
  }

  async #everywhere (act: (realm: Realm) => Promise<void>): Promise<void> {
    for (const realm of [PLAIN, ROTATING]) await act(realm)
  }

  /** Offline tokens are revoked client by client; other tokens end with their session. */
  async #revokeRefreshTokens (realm: Realm): Promise<void> {
    const user = await this.#userPath(realm.name)
    for (const client of ['seed', 'seed-public', PROXY_CLIENT, PROXY_CLIENT_WITH_ISS]) {
      await this.#admin('DELETE', `${user}/consents/${client}`, undefined, [404])
    }
    for (const { id } of await this.#admin('GET', `${user}/sessions`) as Array<{ id: string }>) {
      await this.#admin('DELETE', `/admin/realms/${realm.name}/sessions/${id}`)
    }
  }

  async #signOutAllSessions (realm: Realm): Promise<void> {
    await this.#admin('POST', `${await this.#userPath(realm.name)}/logout`)
  }

  async #rotateKeys ({ name }: Realm): Promise<void> {
    const { id } = await this.#admin('GET', `/admin/realms/${name}`) as { id: string }
    this.#keys++
    await this.#admin('POST', `/admin/realms/${name}/components`, {
      name: `key ${this.#keys}`,
      providerId: 'rsa-generated',
      providerType: 'org.keycloak.keys.KeyProvider',
      parentId: id,
      config: { priority: [String(1_000 + this.#keys)], algorithm: ['RS256'] }
    })
  }

  async #removeFromGroup (): Promise<() => Promise<void>> {
    const change = async (method: string): Promise<void> => {
      await this.#everywhere(async (realm) => {
        const groups = await this.#admin('GET', `/admin/realms/${realm.name}/groups`) as Array<{ id: string }>
        await this.#admin(method, `${await this.#userPath(realm.name)}/groups/${groups[0]!.id}`)
      })
    }
    await change('DELETE')
    return async () => { await change('PUT') }
  }

  async #withoutTokenExchange (act: () => Promise<void>): Promise<void> {
    await this.#changeSeedClient(PLAIN, {}, { [TOKEN_EXCHANGE]: 'false' })
    await act()
    await this.#changeSeedClient(PLAIN, {}, { [TOKEN_EXCHANGE]: 'true' })
  }

  /** Changes members and attributes of Seed's client. */
  async #changeSeedClient ({ name }: Realm, members: object, attributes: object): Promise<void> {
    const path = `/admin/realms/${name}/clients`
    const [client] = await this.#admin('GET', `${path}?clientId=seed`) as Array<{ id: string, attributes: object }>
    await this.#admin('PUT', `${path}/${client!.id}`, {
      ...client, ...members, attributes: { ...client!.attributes, ...attributes }
    })
  }

  /** Tokens from before a moment are stale. */
  async #setNotBefore (seed: SeedUnderTest): Promise<void> {
    const signedIn = await seed.signIn()
    const set = async (notBefore: number): Promise<void> => {
      await this.#everywhere(async ({ name }) => { await this.#admin('PUT', `/admin/realms/${name}`, { notBefore }) })
    }
    await nextSecond()
    await set(Math.floor(Date.now() / 1_000))
    await seed.expectDeadRefreshToken(signedIn)
    await set(0)
  }

  async #lockOut (seed: SeedUnderTest): Promise<void> {
    const signedIn = await seed.signIn()
    const attempt = async (password: string): Promise<string> =>
      await signInAs(password)((await createPlainClient(seed.url)).authorizationUrl())
        .then(() => 'signed in', () => 'refused')
    for (let time = 0; time < FAILURES; time++) equal(await attempt('wrong'), 'refused', 'a wrong password')
    equal(await attempt(PASSWORD), 'refused', 'the right password while locked out')
    await seed.refresh(signedIn)
    await this.#everywhere(async ({ name }) => {
      await this.#admin('DELETE', `/admin/realms/${name}/attack-detection/brute-force/users`)
    })
    equal(await attempt(PASSWORD), 'signed in', 'the right password afterwards')
  }

  async #userPath (realm: string, username = 'ada'): Promise<string> {
    const path = `/admin/realms/${realm}/users`
    const users = await this.#admin('GET', `${path}?exact=true&username=${username}`) as Array<{ id: string }>
    return `${path}/${users[0]!.id}`
  }

  async #admin (method: string, path: string, body?: object, tolerated: number[] = []): Promise<unknown> {
    const tokens = await fetch(`${this.#url}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: ADMIN, password: ADMIN })
    })
    const { access_token: token } = await tokens.json() as { access_token: string }
    const answer = await fetch(`${this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
    const text = await answer.text()
    if (!answer.ok && !tolerated.includes(answer.status)) {
      throw new Error(`Keycloak answered ${method} ${path} with ${answer.status}: ${text}`)
    }
    return text === '' ? undefined : JSON.parse(text)
  }
}

function signInAs (password: string): (authorizationUrl: URL) => Promise<URL> {
  return async (url) => await createBrowser().signIn(url, { login: 'ada', username: 'ada', password })
}

async function exchangeToken (seed: SeedUnderTest): Promise<void> {
  const { status, body } = await seed.call((await seed.signIn()).tokens, 'exchanged_token')
  const text = JSON.stringify(body)
  check(status === 200 && /aud[^,}]*orders-api/.test(text), `a token for orders-api, not ${status} ${text}`)
}

async function checkGroups (seed: SeedUnderTest): Promise<void> {
  const { tokens } = await seed.signIn()
  const usesPaths = seed.configuration.person !== undefined
  const isCalled = async (tool: string): Promise<boolean> => {
    const { body } = await seed.call(tokens, tool)
    const { result } = body as { result?: { isError?: boolean } }
    return result !== undefined && result.isError !== true
  }
  equal(await isCalled('for_backend'), !usesPaths, 'the tool for backend answers')
  equal(await isCalled('for_backend_by_path'), usesPaths, 'the tool for engineering/backend answers')
  equal(await isCalled('for_others'), false, 'the tool for others answers')
}

async function exists (path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false)
}
