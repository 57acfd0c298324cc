import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { LoggingLevel } from '@modelcontextprotocol/server'
import { connectAsked } from '../support/asked-clients.ts'
import { ERAS } from '../support/open-server.ts'
import type { Era, OpenServer } from '../support/open-server.ts'
import { modernRequest, openSession, ready, sendModern, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** Log messages of mounted servers (`notifications/message`). */

const LEVEL_META = 'io.modelcontextprotocol/logLevel'
const DONE = { content: [{ type: 'text' as const, text: 'done' }] }

interface Logged { level: string, logger?: string, data: unknown }

async function startLogging (t: Parameters<typeof startUpstream>[0], era: 'modern' | 'session'): Promise<Upstream> {
  const upstream = await startUpstream(t, era)
  upstream.capabilities = { ...upstream.capabilities, logging: {} }
  upstream.call = async (_name, _args, { mcpReq }) => {
    await mcpReq.log('debug', 'a detail')
    await mcpReq.log('info', { rows: 3 }, 'db')
    await mcpReq.log('error', 'it failed')
    return DONE
  }
  return upstream
}

/** Calls the tool. @returns the log messages that came before the result */
async function loggedIn (seed: OpenServer, era: Era, level?: LoggingLevel, mount = 'calc'): Promise<Logged[]> {
  const _meta = era === 'modern' && level !== undefined ? { _meta: { [LEVEL_META]: level } } : {}
  const { response, notifications } = await seed.send(era, 'tools/call', { name: `${mount}_add`, arguments: {}, ..._meta })
  if (response.result.content[0].text !== 'done') throw new Error('The call has failed')
  return notifications.map(({ params }) => params as unknown as Logged)
}

for (const upstreamEra of ['modern', 'session'] as const) {
  t.test(`clients of both eras get the messages of a mounted server (${upstreamEra}) of the level that they want`, async (t) => {
    const upstream = await startLogging(t, upstreamEra)
    const seed = await startMounted(t, { calc: { url: upstream.url } })
    const info = { level: 'info', logger: 'calc_db', data: { rows: 3 } }
    const error = { level: 'error', logger: 'calc', data: 'it failed' }
    t.same(await loggedIn(seed, 'modern'), [], 'a client of 2026-07-28 asks for messages, or gets none')
    t.same(await loggedIn(seed, 'modern', 'warning'), [error])
    t.same(await loggedIn(seed, 'modern', 'debug'), [{ ...error, level: 'debug', data: 'a detail' }, info, error])
    t.same(await loggedIn(seed, 'legacy'), [info, error], 'one of 2025 that has not said')
    await seed.send('legacy', 'logging/setLevel', { level: 'error' })
    await until(async () => (await loggedIn(seed, 'legacy')).length === 1, 'the level is set')
    t.same(await loggedIn(seed, 'legacy'), [error])
    t.notOk(upstream.messages.some(({ method }) => method === 'logging/setLevel'), 'the connection is everybody\'s')
    const levels = upstream.messages.filter(({ method }) => method === 'tools/call')
      .map(({ params }) => params._meta?.[LEVEL_META])
    t.same(levels.slice(0, 4), upstreamEra === 'modern' ? [undefined, 'warning', 'debug', 'info'] : Array(4).fill(undefined))
  })

  for (const era of ERAS) {
    t.test(`each message of a burst of a mounted server (${upstreamEra}) reaches a ${era} client, also between progress`, async (t) => {
      const upstream = await startLogging(t, upstreamEra)
      upstream.call = async (_name, { reports }, { mcpReq }) => {
        for (let number = 0; number < 200; number++) {
          await mcpReq.log('info', number)
          if (reports !== true) continue
          await mcpReq.notify({
            method: 'notifications/progress', params: { progressToken: mcpReq._meta!.progressToken!, progress: number }
          })
        }
        await mcpReq.log('error', 'it failed')
        return DONE
      }
      const seed = await startMounted(t, { calc: { url: upstream.url } })
      const sent = [...Array(200).keys(), 'it failed']
      const level = era === 'modern' ? { [LEVEL_META]: 'info' } : {}
      for (const [reports, _meta] of [[false, level], [true, { ...level, progressToken: 'p' }]] as const) {
        const { response, notifications } = await seed.send(era, 'tools/call', { name: 'calc_add', arguments: { reports }, _meta })
        t.match(response.result, DONE)
        const logged = notifications.filter(({ method }) => method === 'notifications/message')
        t.same(logged.map(({ params }) => params['data']), sent, 'in order, before the result')
        const progress = notifications.flatMap(({ method, params }) => method === 'notifications/progress' ? [params['progress']] : [])
        t.equal(progress.at(-1), reports ? 199 : undefined)
      }
      t.same(seed.logs.filter(({ event }) => event === 'mount.log_messages_dropped'), [])
    })
  }

  t.test(`messages of prompts and resources of a mounted server (${upstreamEra}) reach the client too`, async (t) => {
    const upstream = await startLogging(t, upstreamEra)
    upstream.answer = async ({ mcpReq }) => {
      await mcpReq.log('info', 'on its way')
      return undefined
    }
    const seed = await startMounted(t, { calc: { url: upstream.url } })
    const _meta = { [LEVEL_META]: 'info' }
    for (const era of ERAS) {
      for (const [method, params] of [
        ['prompts/get', { name: 'calc_greet', arguments: { who: 'Ada' } }],
        ['resources/read', { uri: 'calc+notes://1' }]
      ] as const) {
        const { notifications } = await seed.send(era, method, { ...params, ...(era === 'modern' && { _meta }) })
        t.match(notifications, [{ method: 'notifications/message', params: { data: 'on its way' } }], `${era} ${method}`)
      }
    }
  })

  t.test(`on one connection to a mounted server (${upstreamEra}) nobody gets messages of another person's call`, async (t) => {
    const upstream = await startLogging(t, upstreamEra)
    const waiting: Array<() => void> = []
    upstream.call = async (_name, { who }, { mcpReq }) => {
      await mcpReq.log('info', `started for ${who}`)
      await new Promise<void>((resolve) => { waiting.push(resolve) })
      await mcpReq.log('info', `finished for ${who}`)
      return DONE
    }
    const seed = await startSeed(t, {
      definitions: [],
      timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
      env: { SEED_MOUNTS: await writeMounts({ calc: { url: upstream.url, connectTimeoutSeconds: 60 } }) }
    })
    await ready(seed)
    const call = async (who: string, era: Era): Promise<string> => {
      const token = await seed.provider.mint({ sub: who })
      const params = { name: 'calc_add', arguments: { who } }
      if (era === 'modern') {
        return await (await sendModern(seed.url, loggedRequest(params), token)).text()
      }
      const session = await openSession(seed, token)
      const { body, headers } = session.request('tools/call', params)
      return await (await sendModern(seed.url, { body, headers } as never, token)).text()
    }
    const people = ['ada', 'bob', 'eve', 'joe']
    for (let round = 0; round < 3; round++) {
      const calls = people.map(async (who, index) => await call(who, ERAS[index % 2]!))
      await until(() => waiting.length === people.length, 'all calls run at once')
      for (const finish of waiting.splice(0)) finish()
      for (const [index, text] of (await Promise.all(calls)).entries()) {
        const who = people[index]!
        t.match(text, new RegExp(`started for ${who}[^]*finished for ${who}[^]*done`))
        for (const other of people) if (other !== who) t.notMatch(text, new RegExp(`for ${other}`))
      }
    }
  })
}

/** A call of 2026-07-28 whose client wants messages from `info` on. */
function loggedRequest (params: { name: string, arguments: object }) {
  const request = modernRequest('tools/call', params)
  const body = JSON.parse(request.body)
  body.params._meta[LEVEL_META] = 'info'
  return { ...request, body: JSON.stringify(body) }
}

t.test('messages of a call whose client wants none reach no other call of the same client', async (t) => {
  const upstream = await startLogging(t, 'session')
  const waiting: Array<() => void> = []
  upstream.call = async (_name, { what }, { mcpReq }) => {
    await new Promise<void>((resolve) => { waiting.push(resolve) })
    await mcpReq.log('info', `from ${what}`)
    return DONE
  }
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: {
      SEED_MOUNTS: await writeMounts({ calc: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } })
    }
  })
  await ready(seed)
  const token = await seed.provider.mint({ sub: 'ada' })
  const params = (what: string) => ({ name: 'calc_add', arguments: { what } })
  const send = async (request: ReturnType<typeof modernRequest>): Promise<string> =>
    await (await sendModern(seed.url, request, token)).text()
  const heard = send(loggedRequest(params('heard')))
  await until(() => waiting.length === 1, 'the first one runs')
  const silent = send(modernRequest('tools/call', params('silent')))
  await until(() => waiting.length === 2, 'both run')
  waiting[1]!()
  t.match(await silent, /done/)
  waiting[0]!()
  const text = await heard
  t.match(text, /from heard[^]*done/)
  t.notMatch(text, /from silent/)
})

t.test('a message on no call\'s stream is that of the running call of a session, or of nobody', async (t) => {
  const upstream = await startLogging(t, 'session')
  upstream.call = async () => {
    await upstream.notify({ method: 'notifications/message', params: { level: 'info', data: 'for whom?' } })
    await upstream.ask({ method: 'ping' } as never)
    return DONE
  }
  const seed = await startMounted(t, {
    shared: { url: upstream.url }, calc: { url: upstream.url, connection: 'session' }
  })
  await until(() => upstream.requests.length >= 14, 'the streams of the lists are open')
  await until(async () => (await loggedIn(seed, 'legacy')).length === 1, 'the stream of the session is open')
  t.match(await loggedIn(seed, 'legacy'), [{ logger: 'calc', data: 'for whom?' }])
  t.same(await loggedIn(seed, 'legacy', undefined, 'shared'), [])
  t.same(await loggedIn(seed, 'modern', 'debug', 'shared'), [])
  await upstream.notify({ method: 'notifications/message', params: { level: 'info', data: 'nothing runs' } })
  await upstream.ask({ method: 'ping' } as never)
  t.match(await loggedIn(seed, 'legacy'), [{ data: 'for whom?' }])
})

t.test('a server of 2025 is told the level on a connection that is not everybody\'s, once for each lower one', async (t) => {
  const upstream = await startLogging(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url, connection: 'session' } })
  const levels = () => upstream.messages.filter(({ method }) => method === 'logging/setLevel').map(({ params }) => params.level)
  t.equal((await loggedIn(seed, 'legacy')).length, 2)
  t.equal((await loggedIn(seed, 'legacy')).length, 2)
  t.same(levels(), ['info'])
  for (const level of ['error', 'debug', 'notice'] as const) {
    await seed.send('legacy', 'logging/setLevel', { level })
    const count = { error: 1, debug: 3, notice: 1 }[level]
    await until(async () => (await loggedIn(seed, 'legacy')).length === count, level)
  }
  t.same(levels(), ['info', 'debug'])
  const modern = await startLogging(t, 'modern')
  const other = await startMounted(t, { calc: { url: modern.url, connection: 'session' } })
  t.equal((await loggedIn(other, 'legacy')).length, 2)
  t.notOk(modern.messages.some(({ method }) => method === 'logging/setLevel'), '2026-07-28 has no such method')
})

t.test('completions, which have no stream, set no level', async (t) => {
  const upstream = await startLogging(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url, connection: 'session' } })
  for (const era of ERAS) {
    const { response } = await seed.send(era, 'completion/complete', {
      ref: { type: 'ref/prompt', name: 'calc_greet' }, argument: { name: 'who', value: 'A' }
    })
    t.same(response.result.completion.values, ['A1', 'A2'])
  }
  t.notOk(upstream.messages.some(({ method }) => method === 'logging/setLevel'))
})

t.test('a server of 2025 that refuses the level is called all the same', async (t) => {
  const upstream = await startLogging(t, 'session')
  upstream.intercept = (_request, response) => {
    const { method, params: _params, ...answer } = upstream.messages.at(-1) ?? {}
    if (method !== 'logging/setLevel') return false
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ ...answer, error: { code: -32601, message: 'Unknown' } }))
    return true
  }
  const seed = await startMounted(t, { calc: { url: upstream.url, connection: 'session' } })
  t.match(await loggedIn(seed, 'modern', 'info'), [{ data: { rows: 3 } }, { data: 'it failed' }])
})

t.test('of more or longer messages than Seed passes on, the others reach the client, and the log says so', async (t) => {
  const upstream = await startLogging(t, 'session')
  const deep = JSON.parse('['.repeat(600) + ']'.repeat(600)) as object
  upstream.call = async (_name, _args, { mcpReq }) => {
    await mcpReq.log('info', 'x'.repeat(70_000))
    await mcpReq.log('info', deep)
    await mcpReq.log('info', 'short')
    return DONE
  }
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  t.match(await loggedIn(seed, 'modern', 'info'), [{ data: 'short' }])
  t.match(await loggedIn(seed, 'legacy'), [{ data: 'short' }])
  const lines = seed.logs.filter(({ event }) => event === 'mount.log_messages_dropped')
  t.match(lines, [{ mount: 'calc', dropped: 2 }], 'once a minute at most')
})

t.test('of a flood of messages the first thousand arrive, then the result, and the log says how many did not', async (t) => {
  const upstream = await startLogging(t, 'modern')
  upstream.call = async (_name, _args, { mcpReq }) => {
    for (let number = 0; number < 3_000; number++) await mcpReq.log('info', number)
    return DONE
  }
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const logged = await loggedIn(seed, 'modern', 'info')
  t.same(logged.map(({ data }) => data), [...Array(1_000).keys()])
  t.match(seed.logs.filter(({ event }) => event === 'mount.log_messages_dropped'), [{ dropped: 2_000 }])
})

/** Starts a call, and reads nothing of its stream. */
async function callWithoutReading (seed: OpenServer, era: Era): Promise<IncomingMessage> {
  const _meta = era === 'modern' ? { _meta: { [LEVEL_META]: 'info' } } : {}
  const { body, headers } = seed.prepare(era, 'tools/call', { name: 'calc_add', arguments: {}, ..._meta })
  return await new Promise((resolve, reject) => {
    request(`${seed.url}/mcp`, { method: 'POST', headers }, resolve).on('error', reject).end(body)
  })
}

for (const era of ERAS) {
  t.test(`a result does not wait for long until a ${era} client has read the messages before it`, async (t) => {
    const upstream = await startLogging(t, 'modern')
    upstream.call = async (_name, _args, { mcpReq }) => {
      for (let number = 0; number < 300; number++) await mcpReq.log('info', { number, text: 'x'.repeat(60_000) })
      return DONE
    }
    const seed = await startMounted(t, { calc: { url: upstream.url, maxResponseBytes: 50_000_000 } })
    const response = await callWithoutReading(seed, era)
    const { dropped } = await seed.logged(({ event }) => event === 'mount.log_messages_dropped')
    const received = await text(response)
    const numbers = [...received.matchAll(/"number":(\d+)/g)].map(([, number]) => Number(number))
    t.equal(numbers[0], 0)
    t.same(numbers, numbers.toSorted((a, b) => a - b), 'in order')
    t.equal(numbers.length, 300 - Number(dropped))
    t.match(received, /"text":"done"/)
  })
}

t.test('messages that wait when their client leaves reach nobody', async (t) => {
  const upstream = await startLogging(t, 'session')
  let [isReceived, isCancelled] = [false, false]
  upstream.call = async (_name, _args, { mcpReq }) => {
    mcpReq.signal.addEventListener('abort', () => { isCancelled = true })
    for (let number = 0; number < 300; number++) await mcpReq.log('info', 'x'.repeat(60_000))
    await mcpReq.send({ method: 'ping' })
    isReceived = true
    return await new Promise(() => {})
  }
  const seed = await startMounted(t, { calc: { url: upstream.url, maxResponseBytes: 50_000_000 } })
  const response = await callWithoutReading(seed, 'modern')
  await until(() => isReceived, 'Seed has all messages')
  response.destroy()
  await until(() => isCancelled, 'the call is cancelled')
  await seed.logged(({ event }) => event === 'mount.log_messages_dropped')
  t.same(seed.logs.filter(({ level }) => level! > 40), [])
})

t.test('a message that comes after the result reaches nobody', async (t) => {
  const upstream = await startLogging(t, 'modern')
  let sendLate!: () => void
  let isEnded = false
  upstream.intercept = (_request, response) => {
    const { method, params: _params, ...answer } = upstream.messages.at(-1)!
    if (method !== 'tools/call') return false
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const late = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'late' } }
    response.write(`data: ${JSON.stringify({ ...answer, result: { resultType: 'complete', ...DONE } })}\n\n`)
    sendLate = () => { response.write(`data: ${JSON.stringify(late)}\n\n`) }
    response.on('close', () => { isEnded = true })
    return true
  }
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  t.same(await loggedIn(seed, 'modern', 'info'), [])
  sendLate()
  await until(() => isEnded, 'the stream is ended')
  t.same(seed.logs.filter(({ level }) => level! > 30), [])
})

for (const era of ERAS) {
  t.test(`messages before and after a question of a server of 2025 reach a ${era} client`, async (t) => {
    const upstream = await startLogging(t, 'session')
    let [isAsked, isLogged] = [false, false]
    upstream.call = async (_name, _args, { mcpReq }) => {
      await mcpReq.log('info', 'before')
      const question = mcpReq.send({
        method: 'elicitation/create', params: { message: 'Name?', requestedSchema: { type: 'object', properties: {} } }
      })
      await until(() => isAsked, 'the client is asked')
      await mcpReq.log('info', 'in between')
      await mcpReq.send({ method: 'ping' })
      isLogged = true
      await question
      await mcpReq.log('info', 'after')
      return DONE
    }
    const seed = await startMounted(t, { calc: { url: upstream.url, connection: 'session' } })
    const { client, logged } = await connectAsked(t, era, seed, {
      async fillIn () {
        isAsked = true
        await until(() => isLogged, 'the server has said something meanwhile')
        return { action: 'accept', content: {} }
      }
    })
    const _meta = era === 'modern' ? { _meta: { [LEVEL_META]: 'info' } } : {}
    t.match(await client.callTool({ name: 'calc_add', arguments: {}, ..._meta } as never), DONE)
    t.same(logged, era === 'modern' ? ['before', 'after'] : ['before', 'in between', 'after'], 'between two rounds nobody listens')
  })

  t.test(`each message of a burst before a question of a server of 2025 reaches a ${era} client, before the question`, async (t) => {
    const upstream = await startLogging(t, 'session')
    upstream.call = async (_name, _args, { mcpReq }) => {
      for (let number = 0; number < 200; number++) await mcpReq.log('info', number)
      await mcpReq.send({
        method: 'elicitation/create', params: { message: 'Name?', requestedSchema: { type: 'object', properties: {} } }
      })
      await mcpReq.log('info', 'after')
      return DONE
    }
    const seed = await startMounted(t, { calc: { url: upstream.url, connection: 'session' } })
    const before: number[] = []
    const { client, logged } = await connectAsked(t, era, seed, {
      fillIn () {
        before.push(logged.length)
        return { action: 'accept', content: {} }
      }
    })
    const _meta = era === 'modern' ? { _meta: { [LEVEL_META]: 'info' } } : {}
    t.match(await client.callTool({ name: 'calc_add', arguments: {}, ..._meta } as never), DONE)
    t.same(logged, [...Array(200).keys(), 'after'])
    t.same(before, [200])
  })
}

t.test('a mount without a prefix leaves the names of loggers, and a server without the capability is not asked', async (t) => {
  const upstream = await startLogging(t, 'modern')
  const seed = await startMounted(t, { calc: { url: upstream.url, prefix: false } })
  const call = async () => await seed.send('modern', 'tools/call', { name: ADD.name, arguments: {}, _meta: { [LEVEL_META]: 'info' } })
  t.same((await call()).notifications.map(({ params }) => params['logger']), ['db', undefined])
  const silent = await startUpstream(t)
  const other = await startMounted(t, { calc: { url: silent.url } })
  await other.send('modern', 'tools/call', { name: 'calc_add', arguments: {}, _meta: { [LEVEL_META]: 'info' } })
  t.notOk(LEVEL_META in silent.messages.at(-1)!.params._meta)
})
