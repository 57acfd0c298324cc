import { InsufficientAuthenticationError, InsufficientScopeError } from '../../src/errors/bearer-error.ts'
import t from 'tap'
import { Type } from 'typebox'
import type { Policy } from '../../src/define/policy.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { createPolicyEvaluator } from '../../src/policy/evaluator.ts'
import { ERAS, startEngine } from '../support/engine-fixture.ts'
import { asPrincipal, call, modern, request, send, settle, startEngines, startSession } from '../support/mcp.ts'
import { MODERN_META, modernRequest, ready, startSeed } from '../support/seed.ts'

/** Policies decide about lists and calls alike, in both eras. */

const offered = (policy: Policy) => [
  defineTool({ name: 'tool', description: 'x', input: Type.Object({}), ...policy, handler: () => 'used' }),
  definePrompt({ name: 'prompt', ...policy, handler: () => 'used' }),
  defineResource({ uri: 'memo://one', name: 'one', ...policy, read: () => 'used' }),
  defineResourceTemplate({
    uriTemplate: 'memo://of/{id}',
    name: 'of',
    ...policy,
    list: () => [{ uri: 'memo://of/1', name: '1' }],
    read: () => 'used'
  })
]

const LISTS = [
  ['tools/list', 'tools', 1],
  ['prompts/list', 'prompts', 1],
  ['resources/list', 'resources', 1],
  ['resources/templates/list', 'resourceTemplates', 1]
] as const
const USES = [
  ['tools/call', { name: 'tool', arguments: {} }],
  ['prompts/get', { name: 'prompt' }],
  ['resources/read', { uri: 'memo://one' }],
  ['resources/read', { uri: 'memo://of/1' }]
] as const

type Outcome = 'allowed' | 'hidden' | 'scopes' | 'sign-in'

const now = Math.floor(Date.now() / 1_000)

const CASES: Array<[what: string, Policy, claims: Record<string, unknown> | undefined, Outcome]> = [
  ['no policy, nobody', {}, undefined, 'allowed'],
  ['an empty policy', { scopes: [], groups: [], claims: {} }, undefined, 'allowed'],
  ['scopes, nobody', { scopes: ['a'] }, undefined, 'hidden'],
  ['groups, nobody', { groups: ['a'] }, undefined, 'hidden'],
  ['a scope that the token has', { scopes: ['a'] }, { scope: 'openid a' }, 'allowed'],
  ['one of two scopes', { scopes: ['a', 'b'] }, { scope: 'a' }, 'scopes'],
  ['a wider scope', { scopes: ['a'] }, { scope: 'wide' }, 'allowed'],
  ['a scope wider than that', { scopes: ['a'] }, { scope: 'widest' }, 'allowed'],
  ['a narrower scope', { scopes: ['wide'] }, { scope: 'a' }, 'scopes'],
  ['scopes in a circle', { scopes: ['round'] }, { scope: 'about' }, 'allowed'],
  ['scopes in a circle, without any of them', { scopes: ['round'] }, { scope: 'a' }, 'scopes'],
  ['a scope that no client may ask for', { scopes: ['internal'] }, { scope: 'a' }, 'scopes'],
  ['one of the groups', { groups: ['x', 'y'] }, { groups: ['y', 'z'] }, 'allowed'],
  ['none of the groups', { groups: ['x'] }, { groups: ['xx', 'X'] }, 'hidden'],
  ['no groups in the token', { groups: ['x'] }, {}, 'hidden'],
  ['a group that is not in a list', { groups: ['x'] }, { groups: 'x' }, 'allowed'],
  ['groups of a wrong type', { groups: ['x'] }, { groups: { x: true } }, 'hidden'],
  ['a claim', { claims: { department: 'navy' } }, { department: 'navy' }, 'allowed'],
  ['a claim by its path', { claims: { 'org.department': 'navy' } }, { org: { department: 'navy' } }, 'allowed'],
  [
    'a claim by a name with dots',
    { claims: { 'https://example.com/dept': 'navy' } },
    { 'https://example.com/dept': 'navy' },
    'allowed'
  ],
  ['a claim that lists the value', { claims: { roles: 'admin' } }, { roles: ['user', 'admin'] }, 'allowed'],
  ['one of several values', { claims: { level: [3, 4] } }, { level: 4 }, 'allowed'],
  ['a claim of another type', { claims: { level: 4 } }, { level: '4' }, 'hidden'],
  ['an absent claim', { claims: { level: 4 } }, {}, 'hidden'],
  ['a claim of the prototype', { claims: { constructor: 'x' } }, {}, 'hidden'],
  ['a person, nobody', { principalKind: 'person' }, undefined, 'hidden'],
  ['a person', { principalKind: 'person' }, {}, 'allowed'],
  ['a person, where the client is the subject', { principalKind: 'person' }, { client_id: 'ada' }, 'hidden'],
  ['a person, with an application token of Entra', { principalKind: 'person' }, { idtyp: 'app' }, 'hidden'],
  ['a person, with one that does not say so', { principalKind: 'person' }, { sub: 'object', oid: 'object' }, 'hidden'],
  ['a person, with their token of Entra', { principalKind: 'person' }, { sub: 'pairwise', oid: 'object' }, 'allowed'],
  ['a service', { principalKind: 'service' }, {}, 'hidden'],
  ['a service, with client credentials of Auth0', { principalKind: 'service' }, { gty: 'client-credentials' }, 'allowed'],
  ['a service that only says so', { principalKind: 'service' }, { seed_principal_kind: 'service' }, 'hidden'],
  ['a person and scopes, without the scopes', { principalKind: 'person', scopes: ['a'] }, {}, 'scopes'],
  ['a recent sign-in, nobody', { maxAge: 300 }, undefined, 'hidden'],
  ['a recent sign-in', { maxAge: 300 }, { auth_time: now - 100 }, 'allowed'],
  ['a recent sign-in, by a clock that is a little ahead', { maxAge: 300 }, { auth_time: now + 20 }, 'allowed'],
  ['a recent sign-in that is a little too old', { maxAge: 300 }, { auth_time: now - 320 }, 'allowed'],
  ['a recent sign-in that is too old', { maxAge: 300 }, { auth_time: now - 400 }, 'sign-in'],
  ['a recent sign-in from the future', { maxAge: 300 }, { auth_time: now + 100 }, 'sign-in'],
  ['a recent sign-in without auth_time', { maxAge: 300 }, {}, 'sign-in'],
  ['a recent sign-in, where auth_time is a text', { maxAge: 300 }, { auth_time: `${now}` }, 'sign-in'],
  ['a recent sign-in, where auth_time is negative', { maxAge: 300 }, { auth_time: -1 }, 'sign-in'],
  ['a recent sign-in, where auth_time is no time', { maxAge: 300 }, { auth_time: 1e300 }, 'sign-in'],
  ['a recent sign-in, of a service', { maxAge: 300 }, { gty: 'client-credentials', auth_time: now }, 'hidden'],
  ['a level', { acr: ['phr', 'phrh'] }, { acr: 'phrh' }, 'allowed'],
  ['a level, with another', { acr: ['phr'] }, { acr: 'PHR' }, 'sign-in'],
  ['a level, with none', { acr: ['phr'] }, {}, 'sign-in'],
  ['a level, where acr is a list', { acr: ['phr'] }, { acr: ['phr'] }, 'sign-in'],
  ['a level, of a service', { acr: ['phr'] }, { idtyp: 'app', acr: 'phr' }, 'hidden'],
  ['a recent sign-in and a group, without the group', { maxAge: 300, groups: ['x'] }, {}, 'hidden'],
  ['a recent sign-in and a scope, without both', { maxAge: 300, scopes: ['a'] }, {}, 'sign-in'],
  ['a recent sign-in and a scope, without the scope', { maxAge: 300, scopes: ['a'] }, { auth_time: now }, 'scopes'],
  ['scopes and groups, without the groups: no scope would help', { scopes: ['a'], groups: ['x'] }, {}, 'hidden'],
  ['scopes and groups, without the scopes', { scopes: ['a'], groups: ['x'] }, { groups: ['x'] }, 'scopes'],
  [
    'all of it',
    { scopes: ['a'], groups: ['x'], claims: { on: true } },
    { scope: 'a', groups: ['x'], on: true },
    'allowed'
  ]
]

const POLICY = {
  hierarchy: [['widest', 'wide'], ['wide', 'a'], ['round', 'about'], ['about', 'round']] as Array<[string, string]>,
  scopes: ['openid', 'a', 'b', 'wide', 'round'],
  clockSkewSeconds: 60
}

for (const era of ERAS) {
  t.test(`lists and calls follow the same policy, ${era}`, async (t) => {
    for (const [what, policy, claims, outcome] of CASES) {
      const engine = startEngine(t, offered(policy), { policy: POLICY })
      const options = { principal: claims && asPrincipal('ada', { scope: 'openid', ...claims }) }
      const shown = outcome === 'allowed' || outcome === 'sign-in' || (outcome === 'scopes' && !what.includes('no client may ask'))
      for (const [method, member] of LISTS) {
        const { result } = (await engine.send(era, method, {}, options)).body
        const own = result[member].filter(({ uri }: { uri?: string }) => uri !== 'memo://of/1')
        t.equal(own.length, shown ? 1 : 0, `${what}: ${method}`)
        if (method === 'resources/list') {
          t.equal(
            result.resources.length - own.length,
            outcome === 'allowed' ? 1 : 0,
            `${what}: what a template lists`
          )
        }
      }
      for (const [method, params] of USES) {
        const used = await engine.send(era, method, params, options).then(
          ({ body }) => body.error === undefined ? 'allowed' : 'hidden',
          (err) => err instanceof InsufficientAuthenticationError
            ? 'sign-in'
            : err instanceof InsufficientScopeError ? 'scopes' : String(err)
        )
        t.equal(used, outcome, `${what}: ${method}`)
      }
    }
  })

  t.test(`hidden definitions get the same error as ones that do not exist, ${era}`, async (t) => {
    const engine = startEngine(t, offered({ groups: ['staff'] }))
    const error = async (method: string, params: object) => JSON.stringify((await engine.send(
      era,
      method,
      params,
      { principal: asPrincipal('ada') }
    )).body.error)
    for (const [hidden, none, method, params] of [
      ['tool', 'nosuch', 'tools/call', (name: string) => ({ name, arguments: {} })],
      ['prompt', 'nosuch', 'prompts/get', (name: string) => ({ name })],
      ['memo://one', 'memo://two', 'resources/read', (uri: string) => ({ uri })],
      ['memo://of/1', 'memo://no/1', 'resources/read', (uri: string) => ({ uri })]
    ] as const) {
      t.equal(
        (await error(method, params(hidden))).replaceAll(`${hidden}"`, '"'),
        (await error(method, params(none))).replaceAll(`${none}"`, '"'),
        `${method} ${hidden}`
      )
    }
  })
}

t.test('the challenge asks for all scopes at once: those that the token has, and those that it lacks', async (t) => {
  const definitions = [
    ...offered({ scopes: ['a', 'b'] }),
    defineTool({ name: 'other', description: 'x', input: Type.Object({}), scopes: ['c'], handler: () => '' })
  ]
  const cluster = startEngines(
    t,
    { count: 1, definitions, policy: { hierarchy: [], scopes: ['openid', 'offline_access', 'a', 'b', 'c', 'z'] } }
  )
  const principal = asPrincipal('ada', { scope: 'a openid offline_access strange' })
  const refusal = async (sending: Promise<unknown>) => await sending.then(
    () => undefined,
    (err) => err instanceof InsufficientScopeError ? { scopes: err.scopes, detail: err.detail } : err
  )
  t.same(
    await refusal(send(cluster.engines[0]!, ...modern(
      'tools/call',
      { name: 'tool' }
    ).map((part, at) => at === 0 ? part : { ...part, principal }) as [unknown, object])),
    { scopes: ['openid', 'a', 'b'], detail: 'scopes that the access token lacks: b' }
  )

  const session = await startSession(cluster, { version: '2025-03-26', principal })
  const batch = [call('tool', {}, { id: 1 }), call('other', {}, { id: 2 }), request('tools/list', {}, 3), {
    jsonrpc: '2.0',
    method: 'notifications/initialized'
  }]
  t.same(
    await refusal(session.post(batch)),
    { scopes: ['openid', 'a', 'b', 'c'], detail: 'scopes that the access token lacks: b c' },
    'a batch asks for those of all its messages'
  )

  const [body, options] = modern(
    'subscriptions/listen',
    { notifications: { resourceSubscriptions: ['memo://one', 'memo://nosuch', 7] } }
  )
  t.match(
    await refusal(send(cluster.engines[0]!, body, { ...options, principal })),
    { scopes: ['openid', 'a', 'b'] },
    'a subscription to a resource too'
  )
  t.match(
    await refusal(session.post(request('resources/subscribe', { uri: 'memo://one' }))),
    { scopes: ['openid', 'a', 'b'] }
  )
  t.match(await refusal(session.post(request(
    'completion/complete',
    { ref: { type: 'ref/resource', uri: 'memo://of/{id}' }, argument: { name: 'id', value: '' } }
  ))), { scopes: ['openid', 'a', 'b'] })
  t.match(await refusal(session.post(request(
    'completion/complete',
    { ref: { type: 'ref/prompt', name: 'prompt' }, argument: { name: 'id', value: '' } }
  ))), { scopes: ['openid', 'a', 'b'] })
  for (const odd of [7, 'x', [null], [{}], { method: 'tools/call' }, { method: 'tools/call', params: null }, {
    method: 'completion/complete',
    params: {}
  }, { method: 'subscriptions/listen' }]) t.equal(await refusal(session.post(odd)), undefined, JSON.stringify(odd))
})

t.test('one challenge demands the sign-in that all messages of a batch need, and their scopes', async (t) => {
  const tool = (name: string, policy: Policy) =>
    defineTool({ name, description: 'x', input: Type.Object({}), ...policy, handler: () => '' })
  const cluster = startEngines(t, {
    count: 1,
    definitions: [
      tool('recent', { maxAge: 600 }),
      tool('just_now', { maxAge: 60, acr: ['phr', 'mfa'] }),
      tool('strong', { acr: ['mfa', 'other'] }),
      tool('another', { acr: ['card'] }),
      tool('scoped', { scopes: ['b'] })
    ],
    policy: { hierarchy: [], scopes: ['openid', 'a', 'b'] }
  })
  const principal = asPrincipal('ada', { scope: 'openid a' })
  const session = await startSession(cluster, { version: '2025-03-26', principal })
  const post = async (names: string[]) => await session.post(names.map((name, id) => call(name, {}, { id })))
  const demandOf = async (...names: string[]) => await post(names).then(
    () => undefined,
    (err) => err instanceof InsufficientAuthenticationError
      ? { ...err.demanded, scopes: err.scopes, detail: err.detail }
      : err
  )
  t.same(await demandOf('recent', 'just_now', 'strong', 'scoped'), {
    maxAge: 60,
    acr: ['mfa'],
    scopes: ['openid', 'a', 'b'],
    detail: 'the person must have signed in within 600 s (maxAge); the token has no auth_time; ' +
      'the person must have signed in within 60 s (maxAge); the token has no auth_time; ' +
      'acr must be "phr" or "mfa"; the token has no acr; acr must be "mfa" or "other"; the token has no acr'
  })
  t.match(await demandOf('strong', 'another'), { maxAge: undefined, acr: ['mfa', 'other'] }, 'one after the other')
  t.match(await demandOf('recent'), { maxAge: 600, acr: undefined })
})

t.test('a demand that no sign-in could meet stops the start', (t) => {
  for (const policy of [
    { maxAge: 0 }, { maxAge: 59 }, { maxAge: 60.5 }, { maxAge: 1e9 }, { maxAge: '60' }, { maxAge: NaN }
  ]) t.throws(() => startEngine(t, offered(policy as Policy)), /maxAge must be a whole number of seconds from 60/)
  for (const acr of [
    [], 'phr', ['a b'], ['a"b'], ['a\\b'], [''], [7], Array.from({ length: 21 }, (_, index) => `level-${index}`)
  ]) t.throws(() => startEngine(t, offered({ acr } as Policy)), /acr must be a list of 1 to 20 texts/)
  t.end()
})

t.test('subscribers are not notified of a resource that is hidden from them', async (t) => {
  const announcer = defineTool({
    name: 'announce',
    description: 'x',
    input: Type.Object({}),
    handler (_input, { announce }) {
      for (const uri of ['memo://one', 'memo://open']) announce({ kind: 'resource_updated', uri })
      return ''
    }
  })
  const open = defineResource({ uri: 'memo://open', name: 'open', read: () => '' })
  const cluster = startEngines(t, { count: 1, definitions: [...offered({ groups: ['staff'] }), open, announcer] })
  const listen = async (principal: ReturnType<typeof asPrincipal>, uris: string[]) => {
    const [body, options] = modern('subscriptions/listen', { notifications: { resourceSubscriptions: uris } })
    return (await send(cluster.engines[0]!, body, { ...options, principal })).events
  }
  const [ada, staff] = [
    await listen(asPrincipal('ada'), ['memo://one', 'memo://open', 'memo://nosuch']),
    await listen(asPrincipal('bob', { groups: ['staff'] }), ['memo://one'])
  ]
  await ada.message()
  await staff.message()
  await settle()
  await send(cluster.engines[0]!, ...modern('tools/call', { name: 'announce', arguments: {} }))
  t.match(await ada.message(), { method: 'notifications/resources/updated', params: { uri: 'memo://open' } })
  t.match(await staff.message(), { method: 'notifications/resources/updated', params: { uri: 'memo://one' } })
})

t.test('reasons are sentences for the operator', (t) => {
  const { evaluate } = createPolicyEvaluator({ hierarchy: [], scopes: [] })
  t.match(
    evaluate({ groups: ['x', 'y'] }, asPrincipal('ada')).refusals,
    [/none of the groups x, y; the token has no groups \(OIDC_GROUPS_CLAIM\)/]
  )
  t.match(evaluate({ groups: ['x'] }, asPrincipal('ada', { groups: ['a', 'b'] })).refusals, [/the token has a, b/])
  t.match(
    evaluate({ claims: { level: [3, 'four'] } }, asPrincipal('ada')).refusals,
    ['claim level must be 3 or "four"; the token has no such claim']
  )
  t.match(
    evaluate({ claims: { level: 3 } }, asPrincipal('ada', { level: '3' })).refusals,
    ['claim level must be 3; the token has "3"']
  )
  t.match(evaluate({ scopes: ['a'] }, undefined), { missingScopes: [], refusals: [String] })
  t.match(
    evaluate({ maxAge: 300, acr: ['phr', 'mfa'] }, asPrincipal('ada', { auth_time: now - 301, acr: 'pwd' })),
    {
      unmetAuthentication: [
        /signed in within 300 s \(maxAge\); that was \d+ s ago/, 'acr must be "phr" or "mfa"; the token has acr "pwd"'
      ]
    }
  )
  t.match(
    evaluate({ maxAge: 300 }, asPrincipal('ada', { auth_time: now + 1_000 })).unmetAuthentication,
    [/auth_time is \d+ s in the future: clock_skew_suspected \(TOKEN_CLOCK_SKEW_SECONDS\)/]
  )
  t.match(
    evaluate({ maxAge: 300 }, asPrincipal('ada', { gty: 'client-credentials' })).refusals,
    ['the caller must be a person, who can sign in again (maxAge, acr); it is a service']
  )
  t.end()
})

t.test('a token without the scopes gets 403 with all of them in one challenge, before anything streams', async (t) => {
  let ran = false
  const definitions = [defineTool({
    name: 'admin',
    description: 'x',
    input: Type.Object({}),
    scopes: ['mcp:admin', 'mcp:audit'],
    async handler (_input, { progress }) { ran = true; await progress(1); return 'done' }
  })]
  const seed = await startSeed(t, { definitions })
  await ready(seed)
  const post = async (claims: Record<string, unknown>, tool: string = 'admin') => {
    const {
      body,
      headers
    } = modernRequest('tools/call', { name: tool, arguments: {}, _meta: { ...MODERN_META, progressToken: 1 } })
    return await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      body,
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${await seed.provider.mint(claims)}`
      }
    })
  }
  // No substring, no other separator, no other case, no other type.
  for (const scope of [
    'xmcp:admin mcp:audit',
    'mcp:admin:read mcp:audit',
    'mcp:admin,mcp:audit',
    'MCP:ADMIN mcp:audit',
    'mcp:admin\tmcp:audit',
    'openid',
    '',
    ['mcp:admin', 'mcp:audit'],
    { 'mcp:admin': 1, 'mcp:audit': 1 }
  ]) {
    const response = await post({ scope })
    const challenge = response.headers.get('www-authenticate') ?? ''
    if (typeof scope === 'string') {
      t.equal(response.status, 403, JSON.stringify(scope))
      t.equal(challenge.match(/Bearer/g)?.length, 1, 'one challenge')
      t.match(challenge, /error="insufficient_scope"/)
      const [, challenged = ''] = /[ ,]scope="([^"]*)"/.exec(challenge) ?? []
      for (const needed of [
        'mcp:admin',
        'mcp:audit'
      ]) t.ok(challenged.split(' ').includes(needed) || scope.split(' ').includes(needed), challenged)
      t.match(response.headers.get('content-type'), /^application\/json/)
    } else {
      t.equal(response.status, 401, JSON.stringify(scope))
    }
    await response.text()
  }
  t.equal(ran, false)
  const good = await post({ scope: 'mcp:audit mcp:admin' })
  t.equal(good.status, 200)
  t.match(await good.text(), /done/)
})
