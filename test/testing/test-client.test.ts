import { InsufficientScopeError } from '../../src/errors/bearer-error.ts'
import t from 'tap'
import { Type } from 'typebox'
import { toolResult, user } from '../../src/define/content.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { ProtocolError, createTestClient } from '../../src/testing/index.ts'
import type { TestClientOptions } from '../../src/testing/index.ts'
import { interactiveTools } from '../support/interactive-tools.ts'

const REVISIONS = ['2026-07-28', '2025-11-25'] as const

const definitions = [
  ...interactiveTools,
  defineTool({
    name: 'whoami',
    description: 'names the caller',
    input: Type.Object({}),
    output: Type.Object({
      subject: Type.String(),
      scopes: Type.Array(Type.String()),
      groups: Type.Array(Type.String()),
      department: Type.Unknown(),
      rest: Type.Array(Type.Unknown())
    }),
    handler: (_input, { principal }) => ({
      subject: principal!.subject,
      scopes: [...principal!.scopes],
      groups: [...principal!.groups],
      department: principal!.claims['department'],
      rest: [principal!.clientId, principal!.name, principal!.email, principal!.issuer]
    })
  }),
  defineTool({
    name: 'refund',
    description: 'needs a scope',
    input: Type.Object({}),
    scopes: ['billing:write'],
    handler: () => 'refunded'
  }),
  defineTool({
    name: 'route',
    description: 'has its argument in a header',
    input: Type.Object({ region: Type.Optional(Type.String({ 'x-mcp-header': 'Region' })) }),
    handler: ({ region }) => `to ${region}`
  }),
  defineTool({
    name: 'call_api',
    description: 'calls another API',
    input: Type.Object({}),
    handler: async (_input, { tokenFor }) => await tokenFor('https://api.example.com', { scopes: ['read'] })
  }),
  defineTool({
    name: 'assert_caller',
    description: 'asks for an assertion about its caller',
    input: Type.Object({}),
    handler: async (_input, { assertionFor }) =>
      await assertionFor('https://api.example.com', { claims: ['email'] })
  }),
  defineTool({
    name: 'breaks',
    description: 'fails',
    input: Type.Object({}),
    handler () { throw new Error('the truth') }
  }),
  defineTool({
    name: 'labelled',
    description: 'has metadata',
    input: Type.Object({}),
    handler: () => toolResult({ content: [], _meta: { 'example.com/label': 1 } })
  }),
  definePrompt({
    name: 'greet',
    arguments: Type.Object({ tone: Type.Union([Type.Literal('formal'), Type.Literal('friendly')]) }),
    handler: ({ tone }) => [user(`Say hello, ${tone}`)]
  }),
  defineResource({ uri: 'memo://one', name: 'one', read: () => 'One' }),
  defineResourceTemplate({
    uriTemplate: 'memo://by/{author}',
    name: 'by',
    complete: { author: () => ['ada', 'bob'] },
    read: ({ author }, { uri }) => `${uri} by ${author}`
  })
]

for (const protocolVersion of REVISIONS) {
  t.test(protocolVersion, async (t) => {
    const open = async (options: Partial<TestClientOptions> = {}) => {
      const client = await createTestClient({ definitions, protocolVersion, ...options })
      t.teardown(async () => { await client.close() })
      return client
    }

    t.test('calls as the principal that the test describes', async (t) => {
      const client = await open({
        principal: {
          subject: 'ada',
          scopes: ['a', 'b'],
          groups: ['navy'],
          clientId: 'claude',
          name: 'Ada',
          email: 'ada@example.com',
          issuer: 'https://other.example',
          claims: { department: 7 }
        }
      })
      t.same((await client.callTool('whoami')).structuredContent, {
        subject: 'ada',
        scopes: ['a', 'b'],
        groups: ['navy'],
        department: 7,
        rest: ['claude', 'Ada', 'ada@example.com', 'https://other.example']
      })
      t.same(
        (await (await open({ principal: { subject: 'bob' } })).callTool('whoami')).structuredContent,
        { subject: 'bob', scopes: [], groups: [], rest: ['test-client', null, null, 'https://id.example.com'] }
      )
      t.match((await (await open()).callTool('echo', { text: 'x' })), { content: [{ text: 'undefined: x' }] }, 'nobody')
    })

    t.test('rejects with the scopes that a client must ask for', async (t) => {
      const client = await open({ principal: { subject: 'ada', scopes: ['openid'] } })
      t.same(
        await client.callTool('refund').catch((err) => err instanceof InsufficientScopeError && err.scopes),
        ['billing:write']
      )
      t.match(
        await (await open({ principal: { subject: 'ada', scopes: ['billing:write'] } })).callTool('refund'),
        { content: [{ text: 'refunded' }] }
      )
      t.match(await (await open({
        principal: { subject: 'ada', scopes: ['billing'] },
        scopeHierarchy: [['billing', 'billing:write']]
      })).callTool('refund'), { content: [{ text: 'refunded' }] })
      await t.rejects(
        (await open()).callTool('refund'),
        { code: -32602, message: 'Unknown tool: refund' },
        'for nobody it does not exist'
      )
    })

    t.test('lists, reads, gets and completes', async (t) => {
      const client = await open()
      t.ok((await client.listTools()).some(({ name }) => name === 'echo'))
      t.match(await client.listPrompts(), [{ name: 'greet' }])
      t.match(
        await client.getPrompt('greet', { tone: 'formal' }),
        { messages: [{ role: 'user', content: { text: 'Say hello, formal' } }] }
      )
      t.match(await client.listResources(), [{ uri: 'memo://one' }])
      t.match(await client.listResourceTemplates(), [{ uriTemplate: 'memo://by/{author}' }])
      t.match(await client.readResource('memo://by/ada'), { contents: [{ text: 'memo://by/ada by ada' }] })
      t.match(await client.readResource('memo://by/%C3%A9'), { contents: [{ text: 'memo://by/%C3%A9 by é' }] })
      t.same(await client.complete({ prompt: 'greet' }, 'tone', 'f'), ['formal', 'friendly'])
      t.same(await client.complete({ uriTemplate: 'memo://by/{author}' }, 'author', '', {}), ['ada', 'bob'])
      await t.rejects(client.callTool('nosuch'), { code: -32602, message: 'Unknown tool: nosuch' })
      const err = await client.getPrompt('nosuch').catch((err: unknown) => err)
      t.ok(err instanceof ProtocolError)
      t.match(err, { code: -32602 })
    })

    t.test('lists all pages', async (t) => {
      const many = Array.from(
        { length: 1_001 },
        (_, at) => defineResource({ uri: `memo://${at}`, name: 'm', read: () => '' })
      )
      t.equal((await (await open({ definitions: many })).listResources()).length, 1_001)
    })

    t.test('answers elicitation, sampling and roots as the test says', async (t) => {
      const client = await open({
        elicit: ({ message, form, url }) => {
          if (url !== undefined) return { action: url === 'https://forms.example.com/1' ? 'accept' : 'cancel' }
          t.match(form, { type: 'object' })
          return { action: 'accept', content: { value: message, name: 'Ada', age: 36 } }
        },
        sample: ({ messages }) => ({
          role: 'assistant',
          model: 'm',
          content: { type: 'text', text: `${messages.length} read` }
        }),
        roots: [{ uri: 'file:///a' }]
      })
      const textOf = async (name: string, args?: Record<string, unknown>): Promise<string> => {
        const { content: [block] } = await client.callTool(name, args)
        return (block as { text: string }).text
      }
      t.equal(await textOf('ask_form'), 'Ada is 36')
      t.equal(await textOf('ask_twice', { topic: 'it' }), 'First of it?, Second of it?')
      t.equal(await textOf('ask_page'), 'accept')
      t.match(await textOf('ask_model', { prompt: 'x' }), /1 read/)
      t.equal(await textOf('ask_roots'), 'file:///a')
    })

    t.test('declares no capability that the test does not set', async (t) => {
      const outcome = await (await open()).callTool('ask_form').then(({ isError }) => isError, (err) => err.code)
      t.ok([true, -32021].includes(outcome), String(outcome))
    })

    t.test('collects progress and log messages', async (t) => {
      const client = await open()
      await client.callTool('count', { steps: 2, pauseMs: 0 })
      t.same(
        client.progress,
        [{ progress: 1, total: 2, message: 'step 1' }, { progress: 2, total: 2, message: 'step 2' }]
      )
      t.same(client.messages, [{ level: 'info', data: { step: 1 } }, { level: 'info', data: { step: 2 } }])
    })

    t.test('cancels a call when its signal aborts', async (t) => {
      for (const [name, args] of [['wait', { ms: 60_000 }], ['count', { steps: 2, pauseMs: 60_000 }]] as const) {
        const client = await open()
        const controller = new AbortController()
        const calling = client.callTool(name, args, { signal: controller.signal })
        while (client.serverLog.length + client.progress.length === 0) {
          await new Promise((resolve) => setImmediate(resolve))
        }
        controller.abort(new Error('changed my mind'))
        await t.rejects(calling, { message: 'changed my mind' }, name)
        await t.rejects(
          client.callTool('echo', { text: 'x' }, { signal: controller.signal }),
          { message: 'changed my mind' }
        )
      }
    })

    t.test('closing the client ends running calls', async (t) => {
      const client = await createTestClient({ definitions, protocolVersion })
      const calling = client.callTool('count', { steps: 2, pauseMs: 60_000 })
      calling.catch(() => {})
      while (client.progress.length === 0) await new Promise((resolve) => setImmediate(resolve))
      await client.close()
      await t.rejects(calling)
    })

    t.test('returns results as the tool returned them, without the server\'s own metadata', async (t) => {
      const client = await open()
      t.same(await client.callTool('labelled'), { content: [], _meta: { 'example.com/label': 1 } })
      t.same(await client.callTool('echo', { text: 'x' }), { content: [{ type: 'text', text: 'undefined: x' }] })
    })

    t.test('receives everything that a tool sends, however large', async (t) => {
      const client = await open()
      t.match(await client.callTool('flood', { messages: 2, bytes: 3_000_000 }), { content: [{ text: /^Sent 2/ }] })
      t.same(client.messages.map(({ data }) => String(data).length), [3_000_000, 3_000_000])
    })

    t.test('collects the lines of the server\'s log', async (t) => {
      const client = await open({ principal: { subject: 'ada' } })
      t.match(await client.callTool('breaks'), { isError: true })
      t.match(
        client.serverLog.find(({ level }) => level === 'error'),
        { message: 'A handler failed', fields: { err: { message: 'the truth' } } }
      )
    })

    t.test('repeats arguments in the headers that the tool declares', async (t) => {
      const client = await open()
      for (const region of ['west', 'süd', ' ', '=?base64?x?=', 'a b']) {
        t.match(
          await client.callTool('route', { region }),
          { content: [{ text: `to ${region}` }] }
        )
      }
      t.match(await client.callTool('route'), { content: [{ text: 'to undefined' }] })
    })

    t.test('returns the test\'s tokens from tokenFor', async (t) => {
      const requests: unknown[] = []
      const client = await open({
        principal: { subject: 'ada' },
        tokenFor: (...args) => { requests.push(args); return 'token' }
      })
      t.match(await client.callTool('call_api'), { content: [{ text: 'token' }] })
      t.same(requests, [['https://api.example.com', { scopes: ['read'] }]])
      t.match(await (await open({ tokenFor: () => 'token' })).callTool('call_api'), { isError: true })
    })

    t.test('many calls, with one signal too, look like no leak to Node.js', async (t) => {
      const warnings: Error[] = []
      const onWarning = (warning: Error): void => { warnings.push(warning) }
      process.on('warning', onWarning)
      t.teardown(() => { process.off('warning', onWarning) })
      const client = await open()
      const { signal } = new AbortController()
      for (let count = 0; count < 12; count++) {
        await client.callTool('echo', { text: 'x' })
        await client.callTool('echo', { text: 'x' }, { signal })
      }
      // Node.js emits warnings a moment later.
      await new Promise((resolve) => { setImmediate(resolve) })
      t.same(warnings, [])
    })

    t.test('returns the test\'s assertions from assertionFor, also where nobody is signed in', async (t) => {
      const requests: unknown[] = []
      const client = await open({ assertionFor: (...args) => { requests.push(args); return 'assertion' } })
      t.match(await client.callTool('assert_caller'), { content: [{ text: 'assertion' }] })
      t.same(requests, [['https://api.example.com', { claims: ['email'] }]])
    })

    t.test('names the option that a test must set for tokenFor or assertionFor', async (t) => {
      for (const [tool, option] of [['call_api', 'tokenFor'], ['assert_caller', 'assertionFor']] as const) {
        const client = await open({ principal: { subject: 'ada' } })
        t.match(await client.callTool(tool), { isError: true })
        t.match(client.serverLog.find(({ level }) => level === 'error')?.fields, {
          err: { message: `context.${option} needs the option ${option} of createTestClient` }
        })
      }
    })
  })
}

t.test('rejects definitions that cannot be served', async (t) => {
  await t.rejects(
    createTestClient({ definitions: [definitions[0]!, definitions[0]!] }),
    { message: /is defined twice/ }
  )
})
