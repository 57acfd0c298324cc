import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import type { TestProcess } from '../support/process.ts'
import { until } from '../support/until.ts'
import { createCookieClient } from './cookie-client.ts'
import type { CookieClient } from './cookie-client.ts'
import { expectPackage } from './debian.ts'
import type { Provider, RunningProvider, StartOptions } from './provider.ts'

const PROGRAM = '/usr/bin/glewlwyd'
const MODULES = '/usr/lib/glewlwyd'
const SCHEMA = '/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz'
const SCOPES = ['openid', 'profile', 'email']
const PERSON = { name: 'Ada Lovelace', email: 'ada@example.test', groups: ['engineering'], group: 'engineering' }
const LOGIN = { username: 'ada', password: 'ada-password' }
/** Marks that form encoding would change and that glewlwyd does not decode. */
const SECRET = 'a-secret_with.marks~0123456789'
const CLIENT_KEY_ID = 'seed-key'
/** It accepts https and http://localhost as a resource, and no port is needed: nothing is there. */
const RESOURCE = 'http://localhost/mcp'

/** The single sign-on server of Debian, written in C, with a database of SQLite. */
export const GLEWLWYD: Provider = {
  name: 'glewlwyd',
  title: 'glewlwyd',
  version: '2.7',
  install: async () => { await expectPackage(PROGRAM, 'glewlwyd dbconfig-sqlite3') },

  async start (options) {
    // Its checks of URLs know no loopback address.
    const url = `http://localhost:${await freePort()}`
    let server = await startServer(url, options)
    const administrator = createCookieClient(`${url}/api`)
    await administrator.send('POST', '/auth/', { username: 'admin', password: 'password' })

    const broker = { name: 'broker', mode: 'broker' as const }
    const privateKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const plugin = await configure(url, administrator, options, privateKey)
    const limits = { logOut: 'it announces a logout that a person starts on its own page, which this run has not' }
    const confidential = { OIDC_CLIENT_ID: 'confidential', OIDC_CLIENT_SECRET: SECRET }
    const running: RunningProvider = {
      issuer: `${url}/api/oidc`,
      // On SQLite it answers a token request now and then with 200 and no body while another one is running.
      clientsAtOnce: 1,
      person: PERSON,
      configurations: [
        { ...broker, env: confidential, limits },
        { ...broker, name: 'broker, public client', env: { OIDC_CLIENT_ID: 'public' }, limits },
        {
          ...broker,
          // It wants its token endpoint as audience, which is found out.
          name: 'broker, `private_key_jwt`',
          env: {
            OIDC_CLIENT_ID: 'with-key',
            OIDC_CLIENT_KEY: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
            OIDC_CLIENT_KEY_ID: CLIENT_KEY_ID
          },
          limits
        },
        {
          name: 'proxy',
          mode: 'proxy',
          env: { OIDC_CLIENT_ID: 'public', OIDC_AUDIENCE: RESOURCE, OIDC_RESOURCE: RESOURCE },
          limits
        }
      ],
      signIn: async (authorizationUrl) => await signIn(authorizationUrl, url),
      async revokeRefreshTokens () {
        const person = createCookieClient(`${url}/api`)
        await person.send('POST', '/auth/', LOGIN)
        const tokens = await person.send('GET', '/oidc/token/?limit=1000') as Array<{ token_hash: string, enabled: boolean }>
        for (const token of tokens.filter(({ enabled }) => enabled)) {
          await person.send('DELETE', `/oidc/token/${encodeURIComponent(token.token_hash)}`)
        }
      },
      async restart () {
        server.child.kill('SIGTERM')
        await server.ended
        server = await startServer(url, options)
      },
      async rotateKeys () {
        await administrator.send('PUT', '/mod/plugin/oidc', plugin())
        await administrator.send('PUT', '/mod/plugin/oidc/reset/')
      },
      async removeFromGroup () {
        const user = await administrator.send('GET', `/user/${LOGIN.username}`) as Record<string, unknown>
        await administrator.send('PUT', `/user/${LOGIN.username}`, { ...user, groups: [] })
        return async () => { await administrator.send('PUT', `/user/${LOGIN.username}`, user) }
      },
      async stop () {
        server.child.kill('SIGTERM')
        await server.ended
      }
    }
    return running
  }
}

async function startServer (url: string, { dataFolder, spawn }: StartOptions): Promise<TestProcess> {
  const database = join(dataFolder, 'glewlwyd.db')
  const hasDatabase = await readFile(database).then(() => true, () => false)
  if (!hasDatabase) {
    const { status, stderr } = spawnSync('sqlite3', [database], { input: gunzipSync(await readFile(SCHEMA)) })
    if (status !== 0) throw new Error(`sqlite3 ended with ${status}: ${String(stderr)}`)
  }
  const server = spawn(PROGRAM, ['--env-variables', '--log-mode=console', '--log-level=INFO'], {
    GLWD_PORT: new URL(url).port,
    GLWD_BIND_ADDRESS: '127.0.0.1',
    GLWD_EXTERNAL_URL: url,
    GLWD_LOGIN_URL: 'login.html',
    GLWD_API_PREFIX: 'api',
    GLWD_STATIC_FILES_PATH: '/usr/share/glewlwyd/webapp',
    GLWD_STATIC_FILES_MIME_TYPES: '[{"extension":".html","mime_type":"text/html"}]',
    GLWD_USER_MODULE_PATH: `${MODULES}/user`,
    GLWD_CLIENT_MODULE_PATH: `${MODULES}/client`,
    GLWD_AUTH_SCHEME_MODULE_PATH: `${MODULES}/scheme`,
    GLWD_PLUGIN_MODULE_PATH: `${MODULES}/plugin`,
    GLWD_USER_MIDDLEWARE_MODULE_PATH: dataFolder,
    GLWD_DATABASE_TYPE: 'sqlite3',
    GLWD_DATABASE_SQLITE3_PATH: database,
    GLWD_COOKIE_SECURE: '0',
    GLWD_COOKIE_SAME_SITE: 'empty',
    GLWD_ADMIN_SCOPE: 'g_admin',
    GLWD_PROFILE_SCOPE: 'g_profile',
    GLWD_HASH_ALGORITHM: 'SHA512',
    GLWD_SESSION_KEY: 'GLEWLWYD2_SESSION_ID',
    GLWD_SESSION_EXPIRATION: '2419200',
    GLWD_ADMIN_SESSION_AUTH: 'cookie',
    GLWD_PROFILE_SESSION_AUTH: 'cookie',
    GLWD_LOGIN_API_ENABLED: '1',
    GLWD_MAX_POST_SIZE: '16777216'
  }, dataFolder)
  await until(async () => await fetch(`${url}/config`).then(({ ok }) => ok, () => false), 'glewlwyd answers')
  return server
}

/** Adds scopes, the OpenID Connect plugin, clients and the person. @returns a plugin with a new key each time */
async function configure (
  url: string,
  administrator: CookieClient,
  { seedUrl, clientRedirectUris }: StartOptions,
  clientKey: KeyObject
): Promise<() => object> {
  const scope = (name: string): object =>
    ({ name, display_name: name, password_required: true, password_max_age: 0, scheme: {} })
  await administrator.send('PUT', '/scope/openid', scope('openid'))
  for (const name of SCOPES.slice(1)) await administrator.send('POST', '/scope/', scope(name))

  const users = await administrator.send('GET', '/mod/user/database') as { parameters: Record<string, unknown> }
  await administrator.send('PUT', '/mod/user/database', {
    ...users,
    parameters: {
      ...users.parameters,
      'data-format': { groups: { multiple: true, read: true, write: true, 'profile-read': true, 'profile-write': false } }
    }
  })
  await administrator.send('PUT', '/mod/user/database/reset/')

  const keys: object[] = []
  const plugin = (): object => {
    keys.unshift(signingKey())
    return pluginWith(url, keys)
  }
  await administrator.send('POST', '/mod/plugin/', plugin())

  const redirectUri = `${seedUrl}/oauth/callback`
  const client = { enabled: true, authorization_type: ['code', 'refresh_token'], scope: [] }
  await administrator.send('POST', '/client/', {
    ...client,
    client_id: 'confidential',
    name: 'Seed',
    confidential: true,
    client_secret: SECRET,
    redirect_uri: [redirectUri],
    token_endpoint_auth_method: ['client_secret_basic', 'client_secret_post']
  })
  const publicKey = createPublicKey(clientKey).export({ format: 'jwk' })
  await administrator.send('POST', '/client/', {
    ...client,
    client_id: 'with-key',
    name: 'Seed, with a key',
    confidential: true,
    redirect_uri: [redirectUri],
    token_endpoint_auth_method: ['private_key_jwt'],
    jwks: { keys: [{ ...publicKey, kid: CLIENT_KEY_ID, alg: 'RS256', use: 'sig' }] }
  })
  await administrator.send('POST', '/client/', {
    ...client,
    client_id: 'public',
    name: 'Seed, without a secret',
    confidential: false,
    redirect_uri: [redirectUri, ...clientRedirectUris],
    token_endpoint_auth_method: ['none']
  })
  await administrator.send('POST', '/user/', {
    ...LOGIN,
    name: PERSON.name,
    email: PERSON.email,
    groups: PERSON.groups,
    scope: [...SCOPES, 'g_profile'],
    enabled: true
  })
  return plugin
}

function signingKey (): object {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: randomUUID() }
}

function pluginWith (url: string, keys: object[]): object {
  const claim = (name: string): object => ({ 'user-parameter': name, 'token-parameter': name, 'token-changed': true })
  return {
    module: 'oidc',
    name: 'oidc',
    display_name: 'OpenID Connect',
    parameters: {
      iss: `${url}/api/oidc`,
      'jwt-type': 'rsa',
      'jwt-key-size': '256',
      // The first one signs.
      'jwks-private': JSON.stringify({ keys }),
      'jwks-show': true,
      'access-token-duration': 3600,
      'refresh-token-duration': 1209600,
      'code-duration': 60,
      'refresh-token-rolling': true,
      'refresh-token-one-use': 'always',
      'auth-type-code-enabled': true,
      'auth-type-code-revoke-replayed': true,
      'auth-type-token-enabled': false,
      'auth-type-none-enabled': false,
      'auth-type-password-enabled': false,
      'auth-type-client-enabled': false,
      'auth-type-device-enabled': false,
      'auth-type-refresh-enabled': true,
      'pkce-allowed': true,
      'pkce-method-plain-allowed': false,
      'pkce-required-public-client': true,
      'introspection-revocation-allowed': true,
      'introspection-revocation-allow-target-client': true,
      'introspection-revocation-auth-scope': [],
      // Also what lets clients prove themselves with a signed assertion.
      'request-parameter-allow': true,
      'client-jwks-parameter': 'jwks',
      'resource-allowed': true,
      'resource-scope': { openid: [RESOURCE] },
      'name-claim': 'mandatory',
      'email-claim': 'mandatory',
      'scope-claim': 'no',
      'allowed-scope': SCOPES,
      'subject-type': 'public',
      'oauth-as-iss-id': false,
      claims: [{ name: 'groups', 'user-property': 'groups', type: 'string', mandatory: true, 'on-demand': false }],
      'additional-parameters': [claim('name'), claim('email'), claim('groups')]
    }
  }
}

/** Walks Seed's page, then does what the script of the login page does, and comes back. */
async function signIn (authorizationUrl: URL, url: string): Promise<URL> {
  const browser = createBrowser()
  const atProvider = await browser.signIn(authorizationUrl, { login: '', password: '' }, ({ origin }) => origin === url)
  const person = createCookieClient(`${url}/api`)
  const asked = (await person.redirect(atProvider)).searchParams
  await person.send('POST', '/auth/', LOGIN)
  await person.send('PUT', `/auth/grant/${asked.get('client_id')}`, { scope: asked.get('scope') })
  const granted = new URL(asked.get('callback_url')!)
  granted.searchParams.set('g_continue', '')
  const back = await person.redirect(granted)
  return back.pathname === '/oauth/callback' ? (await browser.get(back)).url : back
}
