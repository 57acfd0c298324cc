import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { VersionNegotiationMode } from '@modelcontextprotocol/client'
import { decodeJwt } from 'jose'
import t from 'tap'
import { Type } from 'typebox'
import { startDevProvider } from '../../dev/provider.ts'
import { defineTool } from '../../src/define/tool.ts'
import { createBrowser } from '../support/browser.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import type { SignedInClient } from '../support/oauth-client.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'

/** Step-up (MCP authorization, scope challenge handling): a call needs more scopes than the sign-in asked for. */

const definitions = [
  defineTool({
    name: 'close_ticket',
    description: 'Needs two scopes that nobody asks for at sign-in',
    input: Type.Object({ id: Type.Integer() }),
    scopes: ['mcp:write', 'mcp:admin'],
    handler: ({ id }, { principal }) => `${id} closed for ${principal!.subject}`
  }),
  defineTool({ name: 'open', description: 'Needs nothing', input: Type.Object({}), handler: () => 'open' }),
  defineTool({
    name: 'admins_only',
    description: 'Needs a group',
    input: Type.Object({}),
    groups: ['admins'],
    handler: () => 'admins'
  })
]

interface Connected {
  listTools (): Promise<string[]>
  call (name: string, input: object): Promise<unknown>
  close (): Promise<void>
}
interface RealClient {
  name: string
  /**
   * SDK v1 with a refresh token uses it when it lacks scopes, although a refresh brings no more of them. So it gets
   * none; in proxy mode it would be the provider's.
   */
  refreshes: boolean
  connect (url: URL, oauth: SignedInClient): Promise<Connected>
  finish (url: URL, oauth: SignedInClient, answer: URL): Promise<void>
}

const info = { name: 'step-up', version: '1.0.0' }
const textOf = (result: unknown): unknown => (result as { content: Array<{ text: string }> }).content[0]!.text

const v2 = (name: string, mode: VersionNegotiationMode): RealClient => ({
  name,
  refreshes: true,
  async connect (url, oauth) {
    const client = new Client(info, { versionNegotiation: { mode } })
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: oauth.provider }))
    return {
      listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: async (name, input) => textOf(await client.callTool({ name, arguments: input as Record<string, unknown> })),
      close: async () => { await client.close() }
    }
  },
  async finish (url, oauth, answer) {
    await new StreamableHTTPClientTransport(url, { authProvider: oauth.provider }).finishAuth(answer.searchParams)
  }
})

const clients: RealClient[] = [
  v2('SDK v2, 2026-07-28', { pin: '2026-07-28' }),
  v2('SDK v2, sessions', 'legacy'),
  {
    name: 'SDK v1',
    refreshes: false,
    async connect (url, oauth) {
      const client = new ClientV1(info)
      await client.connect(new TransportV1(url, { authProvider: oauth.provider as never }) as never)
      return {
        listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
        call: async (name, input) =>
          textOf(await client.callTool({ name, arguments: input as Record<string, unknown> })),
        close: async () => {
          await client.close()
        }
      }
    },
    async finish (url, oauth, answer) {
      await new TransportV1(url, { authProvider: oauth.provider as never }).finishAuth(answer.searchParams.get('code')!)
    }
  }
]

t.test('real clients step up', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })

  for (const mode of ['broker', 'proxy']) {
    for (const { name, refreshes, connect, finish } of clients.filter(
      ({ refreshes }) => refreshes || mode === 'broker'
    )) {
      t.test(`${name}, ${mode} mode`, async (t) => {
        const seed = await startSeed(t, {
          sharedProvider: provider,
          definitions,
          env: { OAUTH_MODE: mode, OIDC_SCOPES: `openid profile groups${refreshes ? ' offline_access' : ''}` }
        })
        await ready(seed)
        const url = new URL(`${seed.url}/mcp`)
        const oauth = createOAuthClient({ login: 'bob', password: 'bob' }, undefined, { refreshes })
        await t.rejects(connect(url, oauth), { message: /Unauthorized/ })
        await finish(url, oauth, await oauth.signIn())
        t.notMatch(
          decodeJwt(oauth.tokens().access_token)['scope'],
          /mcp:/,
          'at sign-in nobody is asked for what only some tools need'
        )

        const first = await connect(url, oauth)
        t.same(
          await first.listTools(),
          ['close_ticket', 'open'],
          'what more scopes open is listed, what another group has is not'
        )
        t.equal(await first.call('open', {}), 'open')
        await t.rejects(first.call('admins_only', {}), /Unknown tool/, 'nor can it be called')
        await t.rejects(first.call('close_ticket', { id: 7 }), 'the call sends the client to sign-in')
        await first.close()

        await finish(url, oauth, await oauth.signIn())
        t.match(decodeJwt(oauth.tokens().access_token)['scope'], /mcp:write/)
        t.match(decodeJwt(oauth.tokens().access_token)['scope'], /mcp:admin/)
        const second = await connect(url, oauth)
        t.equal(await second.call('close_ticket', { id: 7 }), '7 closed for bob')
        await second.close()
      })
    }
  }
})

t.test('real clients are sent to the provider again when a tool demands a recent or a strong sign-in', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const level = 'urn:seed:dev:second-factor'
  for (const { name, connect, finish } of clients) {
    t.test(name, async (t) => {
      const seed = await startSeed(t, {
        sharedProvider: provider,
        definitions: [
          defineTool({ name: 'pay', description: 'x', input: Type.Object({}), maxAge: 60, handler: () => 'paid' }),
          defineTool({
            name: 'sign',
            description: 'x',
            input: Type.Object({}),
            acr: [level],
            handler: (_input, { principal }) => `signed at ${principal!.acr!}`
          })
        ],
        env: { OAUTH_MODE: 'broker', OIDC_SCOPES: 'openid profile offline_access' }
      })
      await ready(seed)
      const url = new URL(`${seed.url}/mcp`)
      const browser = createBrowser()
      const oauth = createOAuthClient(undefined, undefined, {
        signIn: async (authorizationUrl) => await browser.signIn(authorizationUrl, { login: 'ada', password: 'ada' })
      })
      await t.rejects(connect(url, oauth), { message: /Unauthorized/ })
      await finish(url, oauth, await oauth.signIn())
      t.type(oauth.tokens().refresh_token, 'string', 'which they try before they ask the person')

      for (const [tool, answer, asked] of [
        ['pay', 'paid', { max_age: '60' }], ['sign', `signed at ${level}`, { acr_values: level }]
      ] as const) {
        const first = await connect(url, oauth)
        t.same(await first.listTools(), ['pay', 'sign'], 'both are listed')
        await t.rejects(first.call(tool, {}), `${tool}: the call sends the client to sign-in`)
        await first.close()
        await finish(url, oauth, await oauth.signIn())
        t.match(provider.lastAuthorization(), asked)
        const second = await connect(url, oauth)
        t.equal(await second.call(tool, {}), answer)
        await second.close()
      }
    })
  }
})

t.test('without sign-in nothing that has a policy is offered, and the log says so at start', async (t) => {
  const seed = await startSeed(t, { definitions, env: { AUTH_REQUIRED: 'false' } })
  t.match(await seed.logged(({ msg }) => msg.startsWith('AUTH_REQUIRED=false: definitions with a policy')), {
    level: 40,
    guarded: ['Tool "close_ticket"', 'Tool "admins_only"']
  })
  for (const [method, params, expected] of [
    ['tools/list', {}, { result: { tools: [{ name: 'open' }] } }],
    [
      'tools/call',
      { name: 'close_ticket', arguments: { id: 1 } },
      { error: { code: -32602, message: 'Unknown tool: close_ticket' } }
    ]
  ] as const) {
    const { body, headers } = modernRequest(method, params)
    const response = await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body
    })
    const answer = await response.json() as { result?: { tools: unknown[] } }
    t.match(answer, expected)
    if (method === 'tools/list') t.equal(answer.result!.tools.length, 1)
  }
})

t.test('the step-up challenge names all scopes at once, as plain HTTP, before anything streams', async (t) => {
  const seed = await startSeed(t, {
    definitions,
    env: { OIDC_SCOPES: 'openid profile', SCOPE_HIERARCHY: 'mcp:root>mcp:admin,mcp:admin>mcp:write' }
  })
  await ready(seed)
  const { body, headers } = modernRequest('tools/call', { name: 'close_ticket', arguments: { id: 1 } })
  const call = async (scope: string): Promise<Response> =>
    await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${await seed.provider.mint({ scope })}`
      },
      body
    })

  const refused = await call('openid email mcp:write other')
  t.equal(refused.status, 403)
  t.equal(refused.headers.get('content-type'), 'application/json; charset=utf-8')
  t.equal(refused.headers.get('cache-control'), 'no-store')
  t.equal(
    refused.headers.get('www-authenticate'),
    'Bearer error="insufficient_scope", ' +
      'error_description="This needs permissions that the access token does not have (reference ' +
      `${refused.headers.get('x-request-id')})", ` +
      `scope="openid mcp:write mcp:admin", resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`,
    'what it has and may ask for again, and what is missing'
  )
  t.match(await refused.json(), { jsonrpc: '2.0', error: { code: -32001, data: { reason: 'insufficient_scope' } } })
  t.match(await seed.logged(({ refused }) => refused === 'insufficient_scope'), {
    status: 403,
    reason: 'scopes that the access token lacks: mcp:admin',
    tool: 'close_ticket'
  })

  for (const scope of ['', 'mcp:admin:write', 'xmcp:admin', 'MCP:ADMIN', 'mcp:admin,mcp:write', 'mcp:write']) {
    t.equal((await call(scope)).status, 403, JSON.stringify(scope))
  }
  for (const scope of ['mcp:write mcp:admin', 'mcp:admin', 'mcp:root']) {
    t.equal((await call(scope)).status, 200, `${scope}: a wider scope includes the narrower`)
  }
  const metadata = (await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json()) as {
    scopes_supported: string[]
  }
  t.same(metadata.scopes_supported, ['openid', 'profile', 'mcp:admin', 'mcp:root', 'mcp:write'])
  const resource = (await (await fetch(`${seed.url}/.well-known/oauth-protected-resource/mcp`)).json()) as {
    scopes_supported: string[]
  }
  t.same(resource.scopes_supported, ['openid', 'profile'])
})

t.test('the challenge for a sign-in that is too old or too weak is plain HTTP, before anything streams', async (t) => {
  let runs = 0
  const seed = await startSeed(t, {
    definitions: [defineTool({
      name: 'pay',
      description: 'Needs a recent sign-in with a second factor',
      input: Type.Object({}),
      scopes: ['mcp:write'],
      maxAge: 300,
      acr: ['phr', 'mfa'],
      async * handler () {
        runs++
        yield { progress: 1 }
        return 'paid'
      }
    })],
    env: { OIDC_SCOPES: 'openid profile', MCP_LIMIT_REFUSED: '1', TOKEN_CLOCK_SKEW_SECONDS: '30' }
  })
  await ready(seed)
  const { body, headers } = modernRequest('tools/call', { name: 'pay', arguments: {} })
  const now = Math.floor(Date.now() / 1_000)
  const call = async (claims: Record<string, unknown>) => await postMcp(
    seed, { body, headers }, await seed.provider.mint({ scope: 'openid profile mcp:write', ...claims }))
  const resourceMetadata = `resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`

  const refused = await call({ auth_time: now - 1_000, acr: 'pwd' })
  t.equal(refused.status, 401)
  t.equal(refused.headers.get('content-type'), 'application/json; charset=utf-8')
  t.equal(
    refused.headers.get('www-authenticate'),
    'Bearer error="insufficient_user_authentication", ' +
      'error_description="This needs a more recent or stronger sign-in: sign in again (reference ' +
      `${refused.headers.get('x-request-id')})", max_age="300", acr_values="phr mfa", ` +
      `scope="openid profile mcp:write", ${resourceMetadata}`
  )
  t.match(refused.body, { error: { code: -32001, data: { reason: 'insufficient_user_authentication' } } })
  t.match(await seed.logged(({ refused }) => refused === 'insufficient_user_authentication'), {
    status: 401,
    reason: /^the person must have signed in within 300 s \(maxAge\); that was 100\d s ago; acr must be "phr" or "mfa"/,
    cause: 'authentication_insufficient',
    tool: 'pay'
  })

  for (const [what, claims] of Object.entries({
    'no claims about the sign-in': {},
    'an old sign-in': { auth_time: now - 340, acr: 'mfa' },
    'a sign-in from the future': { auth_time: now + 100, acr: 'mfa' },
    'a time that is a text': { auth_time: String(now), acr: 'mfa' },
    'another level': { auth_time: now, acr: 'mfa ' },
    'neither scopes nor sign-in': { scope: 'openid' }
  })) {
    const { status, headers } = await call(claims)
    t.equal(status, 401, `${what}; it is no guess, of which the address may have one`)
    t.match(headers.get('www-authenticate'), /insufficient_user_authentication.* max_age="300", acr_values="phr mfa"/)
  }
  t.match((await call({ scope: 'openid', auth_time: now, acr: 'mfa' })).headers.get('www-authenticate'),
    /error="insufficient_scope".* scope="openid mcp:write"/, 'a sign-in alone is enough, and the scope is missing')
  t.equal(runs, 0)
  t.match((await call({ auth_time: now - 320, acr: 'mfa' })).body, { result: { content: [{ text: 'paid' }] } })
})
