import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Type } from 'typebox'
import { createVerifier } from '../../src/audit/chain.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import { getTokens, startBroker } from '../support/broker.ts'
import { modernRequest, sendModern } from '../support/seed.ts'

/** The audit log while many calls run, fail, are refused and given up: each is there once, as its client saw it. */

const KEY = 'the AUDIT_CHAIN_KEY of these tests, 44 bytes'
const CALLS = 600
const CONCURRENT = 40

const input = Type.Object({ ms: Type.Integer() })
const definitions = [
  defineTool({ name: 'quick', description: 'Returns at once', input, handler: () => 'done' }),
  defineTool({
    name: 'slow',
    description: 'Takes a while',
    input,
    handler: async ({ ms }) => {
      await sleep(ms)
      return 'done'
    }
  }),
  defineTool({ name: 'fails', description: 'Fails', input, handler: () => { throw new ToolError('no') } }),
  defineTool({ name: 'broken', description: 'Is broken', input, handler: async () => { throw new Error('broken') } })
]
const NAMES = ['quick', 'slow', 'fails', 'broken', 'unknown', 'invalid', 'given up']

/** What a client saw of a call: undefined if it gave up, or the connection broke. */
type Seen = AuditRecord['outcome'] | undefined

const traceOf = (index: number): string => (index + 1).toString(16).padStart(32, '0')

async function send (url: string, token: string, index: number): Promise<Seen> {
  const kind = NAMES[index % NAMES.length]!
  const args = kind === 'invalid' ? [] : { ms: 5 + index % 300 }
  const name = kind === 'given up' ? 'slow' : kind
  const { body, headers } = modernRequest('tools/call', { name, arguments: args }, index)
  const signal = kind === 'given up' ? AbortSignal.timeout(1 + index % 20) : AbortSignal.timeout(60_000)
  try {
    const response = await fetch(`${url}/mcp`, {
      method: 'POST',
      body,
      signal,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${token}`,
        traceparent: `00-${traceOf(index)}-b7ad6b7169203331-01`,
        ...headers
      }
    })
    const text = await response.text()
    if (response.status >= 500) return 'unavailable'
    if (response.status >= 400) return 'refused'
    const message = JSON.parse(text.startsWith('{') ? text : text.match(/^data: .+$/gm)!.at(-1)!.slice(6))
    if (message.error !== undefined) return 'refused'
    return message.result.isError === true ? 'error' : 'ok'
  } catch {
    return undefined
  }
}

t.test('each call of a run under load and faults is in the audit log once, with the outcome that its client saw', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'seed-audit-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const path = join(folder, 'audit.log')
  const seed = await startBroker(t, {
    // Fewer calls at once than the clients try.
    env: { AUDIT_LOG: path, AUDIT_CHAIN_KEY: KEY, CALLS_PER_PRINCIPAL: '30' }, definitions
  })
  const { accessToken } = await getTokens(seed)
  const seen: Seen[] = []
  let next = 0
  await Promise.all(Array.from({ length: CONCURRENT }, async () => {
    while (next < CALLS) {
      const index = next++
      seen[index] = await send(seed.url, accessToken, index)
    }
  }))
  t.equal((await sendModern(seed.url, modernRequest('tools/call', { name: 'quick', arguments: { ms: 0 } }), accessToken)).status, 200)
  await seed.app.close()

  const lines = readFileSync(path, 'utf8').trim().split('\n')
  const verifier = createVerifier(KEY)
  lines.forEach((line, index) => { verifier.check(line, path, index + 1) })
  t.match(verifier.result(), { problems: [], lost: 0, others: 0, chains: [{ first: 1, last: lines.length }] })

  const byTrace = new Map<string, AuditRecord[]>()
  for (const line of lines) {
    const record = JSON.parse(line) as AuditRecord
    if (record.trace !== undefined) byTrace.set(record.trace, [...byTrace.get(record.trace) ?? [], record])
  }
  const wrong: string[] = []
  for (const [index, outcome] of seen.entries()) {
    const records = byTrace.get(traceOf(index)) ?? []
    const isRight = outcome === undefined
      ? records.length <= 1
      : records.length === 1 && records[0]!.outcome === outcome
    if (!isRight) wrong.push(`call ${index}: seen ${outcome}, recorded ${records.map((one) => one.outcome).join()}`)
  }
  t.same(wrong, [])
  const outcomes = new Set(seen)
  for (const outcome of ['ok', 'error', 'refused', undefined] as const) t.ok(outcomes.has(outcome), `some were ${outcome}`)
})
