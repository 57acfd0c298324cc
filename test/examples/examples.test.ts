import { InsufficientScopeError } from '../../src/errors/bearer-error.ts'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { isDefinition } from '../../src/define/definition.ts'
import type { Definition } from '../../src/define/definition.ts'
import { createTestClient } from '../../src/testing/index.ts'
import '../support/self-reference.ts'

const REVISIONS = ['2026-07-28', '2025-11-25'] as const

async function load (name: string): Promise<Definition[]> {
  return Object.values(await import(new URL(
    `../../examples/${name}.js`,
    import.meta.url
  ).href) as object).filter(isDefinition)
}

for (const protocolVersion of REVISIONS) {
  t.test(`calls an internal API on behalf of the caller, ${protocolVersion}`, async (t) => {
    const definitions = await load('call-internal-api')
    const seen: IncomingMessage[] = []
    let status = 200
    const api = createServer((request, response) => {
      seen.push(request)
      response.writeHead(
        status,
        { 'content-type': 'application/json' }
      ).end(JSON.stringify([{ id: 'A-1', total: 12.5, placedAt: '2026-11-01' }]))
    })
    await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve))
    const before = process.env['ORDERS_API_URL']
    process.env['ORDERS_API_URL'] = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
    t.teardown(() => {
      if (before === undefined) delete process.env['ORDERS_API_URL']
      api.closeAllConnections()
      api.close()
    })

    const requests: unknown[] = []
    const client = await createTestClient({
      definitions,
      protocolVersion,
      principal: { subject: 'ada', scopes: ['orders:read'] },
      tokenFor: (...args) => { requests.push(args); return 'token-of-ada' }
    })
    t.teardown(async () => { await client.close() })
    t.same(
      (await client.callTool('list_orders', { limit: 5 })).structuredContent,
      { orders: [{ id: 'A-1', total: 12.5, placedAt: '2026-11-01' }] }
    )
    t.match(seen, [{ url: '/orders?limit=5', headers: { authorization: 'Bearer token-of-ada' } }])
    t.same(requests, [['orders-api', { scopes: ['orders:read'] }]])

    status = 403
    t.match(await client.callTool('list_orders'), { isError: true, content: [{ text: /ask the sales team/ }] })
    status = 500
    t.match(await client.callTool('list_orders'), { isError: true, content: [{ text: /at the moment/ }] })
    t.match(client.serverLog.at(-1), { level: 'warn', fields: { status: 500, subject: 'ada', handler: 'list_orders' } })

    const other = await createTestClient({ definitions, protocolVersion, principal: { subject: 'bob' } })
    t.teardown(async () => { await other.close() })
    t.same(
      await other.callTool('list_orders').catch((err) => err instanceof InsufficientScopeError && err.scopes),
      ['orders:read']
    )
  })

  t.test(`reports progress and stops when cancelled, ${protocolVersion}`, async (t) => {
    const client = await createTestClient({ definitions: await load('progress-and-cancellation'), protocolVersion })
    t.teardown(async () => { await client.close() })
    t.same((await client.callTool('import_rows', { rows: 250 })).structuredContent, { imported: 250 })
    t.same(client.progress.map(({ progress }) => progress), [100, 200, 250])
    t.match(await client.callTool('import_rows', { rows: 13 }), { isError: true })

    const controller = new AbortController()
    const importing = client.callTool('import_rows', { rows: 100_000 }, { signal: controller.signal })
    while (client.progress.length < 6) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(new Error('cancelled'))
    await t.rejects(importing, { message: 'cancelled' })
    const ended = () => client.serverLog.filter(({ message }) => message === 'The import has ended')
    while (ended().length < 2) await new Promise((resolve) => setImmediate(resolve))
    t.match(ended()[1], { fields: { complete: false } })
  })

  t.test(`asks the person before it deletes, ${protocolVersion}`, async (t) => {
    const definitions = await load('ask-the-person')
    for (const [answer, outcome] of [
      [{ action: 'accept', content: { name: 'apollo' } }, 'apollo was deleted.'],
      [{ action: 'accept', content: { name: 'gemini' } }, /typed another name/],
      [{ action: 'decline' }, /declined/]
    ] as const) {
      const client = await createTestClient({ definitions, protocolVersion, elicit: () => answer })
      t.match((await client.callTool('delete_project', { project: 'apollo' })).content, [{ text: outcome }])
      await client.close()
    }
  })

  t.test(`returns structured output with text and a link, ${protocolVersion}`, async (t) => {
    const client = await createTestClient({ definitions: await load('structured-output'), protocolVersion })
    t.teardown(async () => { await client.close() })
    const result = await client.callTool(
      'invoice_total',
      { invoice: 'R-7', lines: [{ quantity: 2, cents: 500 }, { quantity: 1, cents: 250 }], taxPercent: 19 }
    )
    t.same(result.structuredContent, { netCents: 1_250, taxCents: 238, totalCents: 1_488 })
    t.match(
      result.content,
      [{ text: 'R-7 comes to 14.88, of which 2.38 is tax.' }, { type: 'resource_link', uri: 'invoices://R-7' }]
    )
    t.match(await client.callTool('invoice_total', { invoice: 'R-7', lines: [], taxPercent: 19 }), { isError: true })
  })
}
