import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider, DevProviderOptions } from '../../dev/provider.ts'
import type { Finding, Report } from '../../src/doctor/finding.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { runCommand } from '../support/run-command.ts'

interface Options {
  provider?: DevProviderOptions
  change?: (provider: DevProvider) => void
  env?: (provider: DevProvider) => Record<string, string> | Promise<Record<string, string>>
  args?: string[]
  login?: string
  /** In place of the sign-in: the parameters of the answer at the redirect URI. */
  answer?: Record<string, string>
}

/** Runs `seed doctor --sign-in`, with a person at a browser. */
async function signIn (t: Test, {
  provider: options, change, env = () => ({}), args = [], login = 'ada',
  answer
}: Options = {}) {
  const provider = await startDevProvider({ algorithm: 'ES256', ...options })
  t.teardown(async () => { await provider.close() })
  let visit: Promise<unknown> | undefined
  const { code, printed, printedErrors } = await runCommand(['doctor', '--json', '--sign-in', ...args], {
    OAUTH_MODE: 'broker',
    BASE_URL: `http://127.0.0.1:${await freePort()}`,
    CIMD_ENABLED: 'false',
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: provider.clientId,
    ...await env(provider)
  }, (shown) => {
    const address = /^http\S+$/m.exec(shown)?.[0]
    if (address === undefined || args.includes('--timeout')) return
    change?.(provider)
    const url = new URL(address)
    const callback = new URLSearchParams({ state: url.searchParams.get('state')!, ...answer })
    visit = answer === undefined
      ? createBrowser().signIn(url, { login, password: login }).then(fetch)
      : fetch(`${url.searchParams.get('redirect_uri')}?${callback}`)
  })
  await visit
  const { findings } = JSON.parse(printed) as Report
  return {
    code,
    printed,
    printedErrors,
    signedIn: findings.filter(({ check }) => check.startsWith('sign-in.')),
    find: (check: string): Finding | undefined => findings.find((finding) => finding.check === `sign-in.${check}`)
  }
}

t.test('a sign-in at a sound provider has nothing against it, and no token is printed', async (t) => {
  const { signedIn, code, printed, printedErrors } = await signIn(t, {
    env: () => ({ ACCESS_GROUPS: 'engineering' })
  })
  t.same(signedIn.map(({ check, severity }) => `${check} ${severity}`), [
    'code', 'id-token', 'userinfo', 'groups', 'access', 'access-token', 'refresh-token', 'logout'
  ].map((name) => `sign-in.${name} ok`))
  t.equal(code, 1, 'the store in memory is a warning')
  t.notMatch(printed, /eyJ/)
  t.match(printedErrors, /register http:\/\/127\.0\.0\.1:\d+\/oauth\/callback there/)
})

const answerWith = (json: Record<string, string>) => (provider: DevProvider): void => {
  provider.setFault('/token', { status: 200, json })
}

/** Settings of proxy mode, at a provider whose access tokens have these claims. */
const proxyToken = (claims: Record<string, unknown>, more: Record<string, string> = {}) =>
  async (provider: DevProvider): Promise<Record<string, string>> => {
    answerWith({ access_token: await provider.mint(claims) })(provider)
    return { OAUTH_MODE: 'proxy', OIDC_AUDIENCE: provider.clientId, ...more }
  }

/** Settings of a server whose further endpoint has a rule for groups. */
const limitedSales = async () => ({
  SEED_SECRET: 'x'.repeat(64),
  SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: { access: { groups: ['admins'] } } } })
})

t.test('what only a sign-in shows is found, and the setting is named', async (t) => {
  const noRefresh = await startTokenEndpoint(t)
  for (const [what, options, check, expected] of [
    ['no refresh token', { provider: { quirks: { noRefreshToken: true } } }, 'refresh-token',
      { severity: 'warning', setting: 'OIDC_SCOPES' }],
    ['groups under another claim', {
      provider: { quirks: { rolesClaim: true } }, env: () => ({ ACCESS_GROUPS: 'admins' })
    }, 'groups', {
      severity: 'error',
      meaning: 'ACCESS_GROUPS would refuse everybody like this person',
      setting: 'OIDC_GROUPS_CLAIM',
      value: 'realm_access.roles'
    }],
    ['groups under another claim, with rules of an endpoint', {
      provider: { quirks: { rolesClaim: true } }, env: limitedSales, args: ['--endpoint', 'sales']
    }, 'groups', {
      severity: 'error', meaning: 'access.groups of /mcp/sales (SEED_ENDPOINTS) would refuse everybody like this person'
    }],
    ['groups under another claim, with rules of both', {
      provider: { quirks: { rolesClaim: true } },
      env: async () => ({ ...await limitedSales(), ACCESS_GROUPS: 'admins' }),
      args: ['--endpoint', 'sales']
    }, 'groups', {
      severity: 'error', meaning: /^ACCESS_GROUPS and access.groups of \/mcp\/sales \(SEED_ENDPOINTS\) would refuse everybody/
    }],
    ['groups under another claim, with rules of another endpoint', {
      provider: { quirks: { rolesClaim: true } }, env: limitedSales
    }, 'groups', { severity: 'unknown' }],
    ['no groups', { provider: { quirks: { missingGroups: true } } }, 'groups', {
      severity: 'unknown',
      setting: 'OIDC_GROUPS_CLAIM'
    }],
    ['one group as a string', { provider: { quirks: { singleGroupAsString: true } }, login: 'bob' }, 'groups',
      { severity: 'ok', answered: 'engineering' }],
    ['a person who may not', { env: () => ({ ACCESS_GROUPS: 'admins' }), login: 'bob' }, 'access',
      { severity: 'warning' }],
    ['a symmetric ID token', {
      provider: {
        quirks: {
          idToken: (claims: Record<string, unknown>) => ({ claims, header: { alg: 'HS256' }, key: new Uint8Array(32) })
        }
      }
    }, 'id-token', { severity: 'error', answered: /RS256 or ES256/ }],
    ['no ID token', { change: answerWith({ access_token: 'x' }) }, 'id-token', {
      severity: 'error',
      setting: 'OIDC_SCOPES'
    }],
    ['userinfo that is signed', { provider: { quirks: { signedUserinfo: true } } }, 'userinfo', { severity: 'ok' }],
    ['no userinfo endpoint', {
      env: (provider: DevProvider) => {
        const { issuer } = provider
        provider.setFault('/.well-known/openid-configuration', {
          status: 200,
          json: {
            issuer,
            authorization_endpoint: `${issuer}/auth`,
            token_endpoint: `${issuer}/token`,
            jwks_uri: `${issuer}/jwks`
          }
        })
        return {}
      }
    }, 'userinfo', { severity: 'ok', answered: 'no such endpoint' }],
    ['a JWT without an audience in proxy mode', {
      change: answerWith({ access_token: `x.${btoa(JSON.stringify({ sub: 'ada' }))}.x` }),
      env: () => ({ OAUTH_MODE: 'proxy', OIDC_AUDIENCE: 'seed-dev' })
    }, 'access-token', { severity: 'error', setting: 'OIDC_AUDIENCE' }],
    ['a refresh token that stays', {
      env: ({ clientId }: DevProvider) => ({
        OIDC_CLIENT_ID: `${clientId}-confidential`,
        OIDC_CLIENT_SECRET: 'dev-secret'
      })
    }, 'refresh-token', { severity: 'ok', answered: 'no other one' }],
    ['a token with sid in proxy mode', { env: proxyToken({ sid: '1' }) }, 'access-token',
      { severity: 'ok', answered: 'a JWT' }],
    ['a token that lives too long in proxy mode', {
      env: proxyToken({ exp: Math.floor(Date.now() / 1_000) + 200_000 })
    }, 'access-token', { severity: 'error', setting: 'TOKEN_MAX_LIFETIME_SECONDS' }],
    ['a token of another issuer in proxy mode', { env: proxyToken({ iss: 'https://other.example' }) }, 'access-token',
      { severity: 'error', answered: /iss is "https:\/\/other.example"/, setting: undefined }],
    ['a token with another algorithm in proxy mode', { env: proxyToken({}, { OIDC_ALGORITHMS: 'RS256' }) },
      'access-token', { severity: 'error', setting: 'OIDC_ALGORITHMS' }],
    ['groups of the access token in proxy mode, whatever the ID token says', {
      env: proxyToken({ groups: ['admins'] }, { ACCESS_GROUPS: 'engineering' })
    }, 'groups', { severity: 'ok', answered: 'admins' }],
    ['a person whose access token has not the group', {
      env: proxyToken({ groups: ['admins'] }, { ACCESS_GROUPS: 'engineering' })
    }, 'access', { severity: 'warning' }],
    ['an ID token, which proxy mode does not read', {
      env: ({ clientId }: DevProvider) => ({ OAUTH_MODE: 'proxy', OIDC_AUDIENCE: clientId })
    }, 'id-token', undefined],
    ['a refresh token that cannot be used', { env: () => ({ OAUTH_TOKEN_URL: noRefresh }) }, 'refresh-token',
      { severity: 'error', answered: /invalid_grant/ }],
    ['userinfo that fails', { change: (provider: DevProvider) => { provider.setFault('/me', 500) } }, 'userinfo',
      { severity: 'warning' }],
    ['a revocation endpoint that fails', {
      change: (provider: DevProvider) => { provider.setFault('/token/revocation', 503) }
    }, 'logout', { severity: 'warning', setting: 'OAUTH_REVOCATION_URL' }],
    ['a token endpoint that fails', { change: (provider: DevProvider) => { provider.setFault('/token', 500) } }, 'code',
      { severity: 'error', answered: /500/ }],
    ['a refused sign-in', { answer: { error: 'invalid_request' } }, 'code', {
      severity: 'error',
      answered: /invalid_request/
    }],
    ['an opaque token in proxy mode', {
      provider: { quirks: { opaqueTokens: true } },
      env: ({ clientId }: DevProvider) => ({ OAUTH_MODE: 'proxy', OIDC_AUDIENCE: clientId })
    }, 'access-token', { severity: 'error', setting: 'OAUTH_MODE', value: 'broker' }],
    ['an opaque token in broker mode', { provider: { quirks: { opaqueTokens: true } } }, 'access-token',
      { severity: 'ok', answered: 'opaque' }],
    ['another audience in proxy mode', {
      provider: { audience: 'urn:api' },
      env: ({ clientId }: DevProvider) => ({
        OAUTH_MODE: 'proxy',
        OIDC_AUDIENCE: clientId
      })
    }, 'access-token', { severity: 'error', setting: 'OIDC_AUDIENCE', value: 'urn:api' }],
    ['a token without sid in proxy mode', {
      env: ({ clientId }: DevProvider) => ({ OAUTH_MODE: 'proxy', OIDC_AUDIENCE: clientId })
    }, 'access-token', { severity: 'ok', answered: 'a JWT without sid' }]
  ] as Array<[string, Options, string, Partial<Record<keyof Finding, unknown>> | undefined]>) {
    const finding = (await signIn(t, options)).find(check)
    if (expected === undefined) t.equal(finding, undefined, what)
    else t.match(finding, expected, what)
  }
})

/** A token endpoint that redeems every code, and refuses to refresh. */
async function startTokenEndpoint (t: Test): Promise<string> {
  const server = createServer(async (request, response) => {
    const isCode = (await text(request)).includes('grant_type=authorization_code')
    const answer = isCode ? { access_token: 'x', refresh_token: 'y' } : { error: 'invalid_grant' }
    response.writeHead(isCode ? 200 : 400).end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('the access rules of an MCP endpoint are judged beside those of the server', async (t) => {
  const SEED_ENDPOINTS = await writeEndpoints({
    main: { access: { groups: ['robots'] } },
    endpoints: { ops: { access: { groups: ['admins'] } }, sales: {} }
  })
  const env = () => ({ OIDC_SCOPES: 'openid profile email groups offline_access', SEED_SECRET: 'x'.repeat(64), SEED_ENDPOINTS })
  const judged = async (login: string, ...args: string[]) => (await signIn(t, { login, args, env })).signedIn
    .filter(({ check }) => check.endsWith('access')).map(({ check, severity, asked, answered }) => ({ check, severity, asked, answered }))
  const general = { check: 'sign-in.access', severity: 'ok', asked: 'the ACCESS_ settings', answered: 'allowed' }
  const ops = { check: 'sign-in.endpoint-access', asked: 'access of /mcp/ops (SEED_ENDPOINTS)' }
  t.match(await judged('ada', '--endpoint', 'ops'), [general, { ...ops, severity: 'ok', answered: 'allowed' }])
  t.match(await judged('bob', '--endpoint', '/mcp/ops'), [
    general, { ...ops, severity: 'warning', answered: /^access.groups of \/mcp\/ops \(SEED_ENDPOINTS\): the groups sent .*admitted \["admins"\]/ }
  ])
  t.same(await judged('bob', '--endpoint', 'sales'), [general], 'an endpoint without rules')
  t.match(await judged('ada'), [general, { severity: 'warning', answered: /^access.groups of \/mcp \(SEED_ENDPOINTS\)/ }])
  t.match(await runCommand(['doctor', '--endpoint', 'ops'], env()), { code: 1, printedErrors: /--endpoint belongs to --sign-in/ })
  t.match(await runCommand(['doctor', '--sign-in', '--endpoint', 'none'], { ...env(), OAUTH_MODE: 'broker' }), {
    code: 1, printedErrors: /--endpoint is one of \/mcp, \/mcp\/ops, \/mcp\/sales/
  })
})

t.test('a sign-in that cannot begin, or does not end, is a finding', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const { port } = server.address() as AddressInfo
  const taken = await signIn(t, { env: () => ({ BASE_URL: `http://127.0.0.1:${port}` }), args: ['--timeout', '1'] })
  t.match(taken.find('browser'), { severity: 'error', answered: /cannot be listened on \(EADDRINUSE\)/ })

  const nobody = await signIn(t, { env: () => ({ BASE_URL: 'https://seed.invalid' }), args: ['--timeout', '0.2'] })
  t.match(nobody.find('browser'), {
    severity: 'error',
    meaning: /register http:\/\/127\.0\.0\.1:53217\/callback there/
  })

  const away = await signIn(t, { env: () => ({ OIDC_ISSUER: '' }), args: ['--timeout', '1'] })
  t.match(away.find('browser'), { severity: 'unknown' })

  const { printedErrors } = await runCommand(['doctor', '--timeout', 'soon'], {})
  t.match(printedErrors, /--timeout is a number of seconds/)
})
