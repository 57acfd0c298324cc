import t from 'tap'
import { connectAsked } from '../support/asked-clients.ts'
import type { AskedClient } from '../support/asked-clients.ts'
import { getTokens, startBroker } from '../support/broker.ts'
import { ERAS } from '../support/open-server.ts'
import { writeMounts } from '../support/upstream.ts'
import type { HttpEntry, StdioEntry } from './server.ts'
import { SERVERS } from './servers.ts'

/** Real servers of 2025 ask the person, the model and the client's folders while a call runs: `connection: session`. */

/** Tools that ask, by the server's own names. */
const ASKING = {
  everything: {
    'trigger-elicitation-request': {},
    'trigger-url-elicitation': { url: 'https://forms.example/1', elicitationId: 'one' },
    'trigger-sampling-request': { prompt: 'A poem' },
    'get-roots-list': {}
  },
  go: { 'elicit (form)': {}, sample: {}, roots: {} }
}

const fillIn = (message: string): object =>
  ({ action: 'accept', content: /random/.test(message) ? { random: '42' } : { name: 'Ada' } })

/** What tools answer, and what they have asked before. */
async function callAll ({ call, questions }: AskedClient, tools: object, nameOf: (own: string) => string) {
  const answers: Record<string, unknown> = {}
  for (const [tool, args] of Object.entries(tools)) {
    questions.length = 0
    const text = await call(nameOf(tool), args).catch((err: Error) => `error: ${err.message}`)
    // server-everything asks for roots some time after the connection was opened, too.
    const asked = questions.filter(({ method }) => method !== 'roots/list')
    answers[tool] = { text, asked: asked.map(({ method, params }) => [method, params.message]) }
  }
  return answers
}

t.test('real servers ask real clients behind Seed as they ask them directly', { timeout: 300_000 }, async (t) => {
  const mounts: Record<string, HttpEntry | StdioEntry> = {}
  for (const server of SERVERS.filter(({ name }) => /^(everything|go)(-stdio)?$/.test(name))) {
    await server.install?.()
    const entry = await server.start(t)
    // The Go SDK knows 2026-07-28, where its tools cannot ask.
    mounts[server.name] = Object.assign(entry, { connection: 'session', protocolVersion: '2025-11-25' })
  }
  const seed = await startBroker(t, {
    definitions: [], env: { SEED_MOUNTS: await writeMounts(mounts) }, timings: { mountsWaitMs: 60_000 }
  })
  const { accessToken: token } = await getTokens(seed)
  for (const [name, tools] of Object.entries(ASKING)) {
    const { url } = mounts[name] as HttpEntry
    const renamed = SERVERS.find((server) => server.name === name)!.plan.renamed ?? {}
    const direct = await connectAsked(t, 'legacy', { url: url.replace(/\/mcp$/, '') }, { fillIn })
    const expected = await callAll(direct, tools, (own) => own)
    t.notMatch(JSON.stringify(expected), /error|failed/i, `${name} asks directly`)
    for (const era of ERAS) {
      for (const mount of [name, `${name}-stdio`]) {
        const client = await connectAsked(t, era, seed, { token, fillIn })
        const found = await callAll(client, tools, (own) => `${mount}_${renamed[own] ?? own}`)
        for (const tool of Object.keys(tools)) t.same(found[tool], expected[tool], `${mount}, ${era}: ${tool}`)
      }
    }
  }
})
