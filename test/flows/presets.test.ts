import { decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import type { DevProvider } from '../../dev/provider.ts'
import type { Quirks } from '../../dev/provider/quirks.ts'
import type { Page } from '../support/browser.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, readTokens, signedIn } from '../support/sign-in.ts'
import { startDevProvider } from '../../dev/provider.ts'

/**
 * Differences of each provider, imitated by the development provider: without its preset
 * the trap springs, with it the same sign-in passes.
 */
async function startTrap (
  t: Test,
  quirks: Partial<Quirks>
): Promise<{ provider: DevProvider; seedFor: (preset: string, env?: Record<string, string>) => Promise<TestSeed> }> {
  const provider = await startDevProvider({ algorithm: 'ES256', quirks, audience: 'https://api.example.com' })
  t.teardown(async () => { await provider.close() })
  return {
    provider,
    seedFor: async (preset, env = {}) => {
      const seed = await startSeed(t, {
        sharedProvider: provider,
        env: {
          OIDC_PROVIDER: preset,
          OAUTH_MODE: 'broker',
          OIDC_CLIENT_ID: provider.clientId,
          OIDC_AUDIENCE: 'https://api.example.com',
          ...env
        }
      })
      await ready(seed)
      return seed
    }
  }
}

async function walkAt (seed: TestSeed): Promise<Page> {
  return await (await createPlainClient(seed.url)).walk()
}

t.test('Google: opaque tokens, and access_type=offline instead of the scope offline_access', async (t) => {
  const { provider, seedFor } = await startTrap(t, {
    refuseOfflineAccess: true,
    offlineByParameter: true,
    refreshWithoutConsent: true,
    opaqueTokens: true,
    scopeAliases: true,
    hostedDomain: 'example.com'
  })
  const credentials = { OIDC_CLIENT_ID: `${provider.clientId}-confidential`, OIDC_CLIENT_SECRET: 'dev-secret' }

  const trapped = await seedFor('generic', credentials)
  const refused = await walkAt(trapped)
  t.equal(refused.url.searchParams.get('error'), 'server_error')
  t.match(await trapped.logged(({ path }) => path === '/oauth/callback'), { reason: /invalid_scope/ })

  const seed = await seedFor('google', { ...credentials, ACCESS_HOSTED_DOMAINS: 'example.com' })
  const client = await createPlainClient(seed.url)
  const tokens = await signedIn(client)
  t.match(provider.lastAuthorization(), { access_type: 'offline', prompt: 'consent' })
  t.notMatch(provider.lastAuthorization()['scope'], /offline_access/)
  t.equal(
    tokens.scope,
    'openid profile email offline_access',
    'the client is granted it all the same: it is Seed that keeps it signed in'
  )
  t.match(decodeJwt(tokens.access_token), { hd: 'example.com', email: 'ada@example.com' })
  const before = provider.hits()['/token']!
  t.match(await readTokens(await client.refresh(tokens.refresh_token!)), { status: 200, refresh_token: String })
  t.equal(provider.hits()['/token'], before + 1, 'Google is asked whether the person is still welcome')

  provider.quirks.hostedDomain = 'elsewhere.example'
  t.match(await walkAt(seed), { status: 403, body: /not one of an organisation/ })
})

t.test('Entra ID: a refresh without scope returns a token for another API (proxy mode)', async (t) => {
  const { provider, seedFor } = await startTrap(t, { refuseResource: true, refreshNeedsScope: true })
  const env = { OAUTH_MODE: 'proxy' }

  const trapped = await createPlainClient((await seedFor('generic', env)).url)
  const first = await signedIn(trapped)
  t.match(await readTokens(await trapped.refresh(first.refresh_token!)), { status: 502, error: 'server_error' })

  const seed = await seedFor('entra', env)
  const client = await createPlainClient(seed.url)
  const tokens = await signedIn(client, undefined, { scope: 'openid', prompt: 'consent' })
  t.equal(
    provider.lastAuthorization()['scope'],
    'openid profile email offline_access',
    'openid alone would give a token for Microsoft Graph'
  )
  t.notOk('resource' in provider.lastAuthorization(), 'AADSTS9010010')
  const refreshed = await readTokens(await client.refresh(tokens.refresh_token!))
  t.equal(refreshed.status, 200)
  t.equal((await ping(seed.url, refreshed.access_token)).status, 200)
})

t.test('Entra ID: one issuer for several tenants', async (t) => {
  const tenant = '8d4f1f4e-0c62-4b3c-9f3e-0d6c5a1e2b3a'
  const { provider, seedFor } = await startTrap(t, { issuerTemplate: tenant })
  const env = { OIDC_ISSUER: `${provider.issuer}/organizations/v2.0` }

  const trapped = await startSeed(t, { sharedProvider: provider, env: { ...env, OIDC_PROVIDER: 'generic' } })
  t.match(
    await trapped.logged(({ level }) => level === 50),
    { reason: /\{tenantid\}.*OIDC_ISSUER/ },
    'the document does not name the issuer that is set'
  )

  const seed = await seedFor('entra', { ...env, OIDC_TENANTS: tenant })
  const tokens = await signedIn(await createPlainClient(seed.url))
  t.equal((await ping(seed.url, tokens.access_token)).status, 200)

  const other = await seedFor('entra', { ...env, OIDC_TENANTS: '00000000-0000-0000-0000-000000000001' })
  t.match(
    await walkAt(other),
    { status: 502, body: /sent a response that this server cannot accept/ },
    'a tenant that is not listed'
  )
  t.match(await other.logged(({ path, status }) => path === '/oauth/callback' && status === 502), {
    reason: /OIDC_TENANTS/
  })
})

t.test('Entra ID: a token with too many groups is refused for that reason and never read as having none', async (t) => {
  const { seedFor } = await startTrap(t, { groupsOverage: true })
  const seed = await seedFor('entra', { ACCESS_GROUPS: 'engineering' })
  t.match(await walkAt(seed), { status: 403, body: /more groups than/ })
  t.match(await seed.logged(({ path, status }) => path === '/oauth/callback' && status === 403), {
    reason: /ACCESS_GROUPS: .*_claim_names/
  })
})

t.test('Okta: groups need the scope groups, which clients do not request', async (t) => {
  const { provider, seedFor } = await startTrap(t, { groupsByScope: true })
  const env = { ACCESS_GROUPS: 'engineering' }
  t.match(await walkAt(await seedFor('generic', env)), { status: 403 })

  const tokens = await signedIn(await createPlainClient((await seedFor('okta', env)).url))
  t.match(provider.lastAuthorization()['scope'], /\bgroups\b/)
  t.same(decodeJwt(tokens.access_token)['groups'], ['engineering', 'admins'])
})

t.test('Auth0: an opaque token without audience (proxy mode), and an issuer with a trailing slash', async (t) => {
  const { provider, seedFor } = await startTrap(t, { audienceParameter: true, trailingSlashIssuer: true })
  const env = { OAUTH_MODE: 'proxy', OIDC_ISSUER: `${provider.issuer}/` }

  const trapped = await seedFor('generic', env)
  const stranded = await createPlainClient(trapped.url)
  t.match(await readTokens(await stranded.redeem(await stranded.walk())), { status: 502, error: 'server_error' })
  t.match(await trapped.logged(({ path, status }) => path === '/oauth/token' && status === 502), { reason: /opaque/ })

  const seed = await seedFor('auth0', env)
  const tokens = await signedIn(await createPlainClient(seed.url))
  t.equal(provider.lastAuthorization()['audience'], 'https://api.example.com')
  t.equal(provider.lastTokenRequest().form['audience'], 'https://api.example.com')
  t.equal((await ping(seed.url, tokens.access_token)).status, 200)
})

for (const mode of ['broker', 'proxy']) {
  t.test(`Keycloak: groups are paths (${mode} mode)`, async (t) => {
    const { seedFor } = await startTrap(t, { groupPaths: true })
    const env = { OAUTH_MODE: mode, ACCESS_GROUPS: 'engineering' }
    const attempt = async (preset: string) => {
      const client = await createPlainClient((await seedFor(preset, env)).url)
      const page = await client.walk()
      return page.status === 0 ? await readTokens(await client.redeem(page)) : page
    }
    t.match(await attempt('generic'), { status: 403 })
    t.match(await attempt('keycloak'), { status: 200, access_token: String })
  })
}

t.test('Keycloak: roles by a path, with a setting of their own', async (t) => {
  const { seedFor } = await startTrap(t, { rolesClaim: true })
  const tokens = await signedIn(
    await createPlainClient(
      (await seedFor('keycloak', { OIDC_GROUPS_CLAIM: 'realm_access.roles', ACCESS_GROUPS: 'admins' })).url
    )
  )
  t.same(decodeJwt(tokens.access_token)['groups'], ['engineering', 'admins'])
})

t.test('authentik: email_verified is false for everybody', async (t) => {
  const { seedFor } = await startTrap(t, { emailVerified: false })
  const env = { ACCESS_EMAIL_DOMAINS: 'example.com' }
  t.match(await walkAt(await seedFor('generic', env)), { status: 403, body: /not confirmed at the identity provider/ })
  const tokens = await signedIn(await createPlainClient((await seedFor('authentik', env)).url))
  t.equal(decodeJwt(tokens.access_token)['email'], 'ada@example.com')
  t.match(
    await walkAt(await seedFor('authentik', { ...env, ACCESS_EMAIL_UNVERIFIED: 'false' })),
    { status: 403 },
    'the setting wins over the preset'
  )
})

t.test('authentik without a signing key: the log at start says what to switch on', async (t) => {
  const provider = await startDevProvider({ quirks: { emptyJwks: true } })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, { sharedProvider: provider, env: { OIDC_PROVIDER: 'authentik' } })
  t.match(await seed.logged(({ level }) => level === 50), { reason: /select a Signing Key/ })
})
