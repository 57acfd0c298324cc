import { once } from 'node:events'
import { get } from 'node:http'
import { connect } from 'node:net'
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { IDLE_MS } from '../../src/http/shutdown.ts'
import { freePort } from '../support/free-port.ts'
import { SERVER_NAME, nginxForTests } from '../support/nginx.ts'
import type { Answer, Nginx } from '../support/nginx.ts'
import { TOOL_SERVER, emptyFolder, startProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startTraffic } from '../support/traffic.ts'

/**
 * Two replicas behind nginx as it ships, on one Redis, restarted in turn while clients call all the time. Every answer
 * is the right one, or says when to try again; streams end as the protocol wants it.
 */

/** Restarts of both replicas; more with `ROLLING_ROUNDS=10`. */
const ROUNDS = Number(process.env['ROLLING_ROUNDS'] ?? 2)
const CLIENTS = 6
const STREAMS = 4
const SESSIONS = 3
const GRACE_SECONDS = 5
const VERSION = '2026-07-28'

function mcp (token: string, id: string, method: string, params: Record<string, unknown>) {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': VERSION,
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'rolling', version: '1' }
  }
  return {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
      'mcp-protocol-version': VERSION,
      'mcp-method': method,
      ...('name' in params && { 'mcp-name': String(params['name']) })
    },
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } })
  }
}

interface Tally {
  right: number
  /** 503 and 429 that say when to try again. */
  refused: number
  wrong: string[]
}

function isRefusal ({ status, headers }: Pick<Answer, 'status' | 'headers'>): boolean {
  return (status === 503 || status === 429) && Number(headers['retry-after']) > 0
}

/** One client of its own address, with one kept connection, one request after the other until it is told to stop. */
async function keepCalling (
  nginx: Nginx,
  token: string,
  client: number,
  tally: Tally,
  stop: AbortSignal
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, localAddress: `127.0.1.${client + 1}` })
  for (let number = 0; !stop.aborted; number++) {
    const id = `${client}-${number}`
    const [what, path, options, isRight] = requestOf(token, id, number)
    try {
      const answer = await nginx.send(path, { ...options, agent })
      if (isRight(answer)) tally.right++
      else if (isRefusal(answer)) tally.refused++
      else tally.wrong.push(`${what}: ${answer.status} ${answer.body.slice(0, 200)}`)
      if (isRefusal(answer)) await sleep(Number(answer.headers['retry-after']) * 1_000)
    } catch (err) {
      tally.wrong.push(`${what}: ${String(err)}`)
    }
    await sleep(25)
  }
  agent.destroy()
}

/** Calls of the tool most of the time; now and then what else a client asks. */
function requestOf (
  token: string,
  id: string,
  number: number
): [what: string, path: string, options: Parameters<Nginx['send']>[1], isRight: (answer: Answer) => boolean] {
  if (number % 20 === 7) {
    return [
      'POST /oauth/token',
      '/oauth/token',
      { method: 'POST', body: 'grant_type=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      ({ status, body }) => status === 400 && JSON.parse(body).error !== undefined
    ]
  }
  if (number % 20 === 14) {
    return [
      'GET metadata',
      '/.well-known/oauth-protected-resource/mcp',
      {},
      ({ status, body }) => status === 200 && JSON.parse(body).resource === `https://${SERVER_NAME}/mcp`
    ]
  }
  return ['POST /mcp', '/mcp', mcp(token, id, 'tools/call', { name: 'seed_ping', arguments: {} }), ({ status, body }) => {
    if (status !== 200) return false
    const message = JSON.parse(body)
    return (
      message.id === id &&
      message.result.structuredContent.status === 'ok' &&
      message.result.structuredContent.caller.subject === 'ada'
    )
  }]
}

/** A stream that is opened again each time it ends: it must end with its result. */
async function keepListening (
  nginx: Nginx,
  token: string,
  tally: Tally,
  onOpen: () => void,
  stop: AbortSignal
): Promise<void> {
  for (let number = 0; !stop.aborted; number++) {
    const { body, ...options } = mcp(token, `s${number}`, 'subscriptions/listen', {
      notifications: { toolsListChanged: true }
    })
    try {
      const sent = request({
        host: '127.0.0.1',
        port: nginx.port,
        path: '/mcp',
        ca: nginx.ca,
        servername: SERVER_NAME,
        ...options,
        headers: { ...options.headers, host: SERVER_NAME },
        signal: stop
      }).end(body)
      const [response] = await once(sent, 'response')
      if (response.statusCode === 200) onOpen()
      const answer = { status: response.statusCode, headers: response.headers, body: await text(response) }
      if (answer.status === 200 && answer.body.includes('"resultType":"complete"')) tally.right++
      else if (isRefusal(answer)) tally.refused++
      else tally.wrong.push(`stream: ${answer.status} ${answer.body.slice(-200)}`)
    } catch (err) {
      if (!stop.aborted) tally.wrong.push(`stream: ${String(err)}`)
    }
  }
}

/** Resolves with true if somebody listens there. */
async function listens (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

t.test('replicas are restarted in turn under traffic, and no request is lost', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const ports: [number, number] = [await freePort(), await freePort()]
  const nginx = await nginxForTests(t, ports)
  if (!nginx) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const token = await provider.mint()
  const replicas = await Promise.all(ports.map(async (port) => await startReplica(t, port, {
    BASE_URL: `https://${SERVER_NAME}`,
    TRUST_PROXY: '127.0.0.1',
    REDIS_URL: redis.url,
    SEED_SECRET: 'one secret for all of the replicas',
    OIDC_ISSUER: provider.issuer,
    OIDC_AUDIENCE: provider.clientId
  })))

  const [calls, streams]: [Tally, Tally] = [{ right: 0, refused: 0, wrong: [] }, { right: 0, refused: 0, wrong: [] }]
  const stopped = new AbortController()
  let opened = 0
  let onOpen = (): void => {}
  const traffic = [
    ...Array.from({ length: CLIENTS }, async (_, client) => {
      await keepCalling(nginx, token, client, calls, stopped.signal)
    }),
    ...Array.from({ length: STREAMS }, async () => {
      await keepListening(
        nginx,
        token,
        streams,
        () => {
          opened++
          onOpen()
        },
        stopped.signal
      )
    })
  ]
  // Sessions of 2025-11-25: plain calls, progress, and questions whose answers come on another connection.
  const sessions = startTraffic({
    targets: [`https://${SERVER_NAME}`],
    fetch: nginx.fetch,
    token: async (sub) => await provider.mint({ sub }),
    mayBreak: () => false,
    during: () => 'a restart',
    modernClients: 0,
    sessionClients: SESSIONS
  })
  /** All streams are open again: each end was followed by a new beginning. */
  const allOpen = async (): Promise<void> => {
    while (opened < STREAMS + streams.right && streams.wrong.length === 0) {
      await new Promise<void>((resolve) => {
        onOpen = resolve
      })
    }
  }
  /** So many more requests were answered, and a third as many in sessions. */
  const moreCalls = async (count: number): Promise<void> => {
    const [enough, enoughInSessions] = [calls.right + count, sessions.tally.right + count / 3]
    while (calls.right < enough && calls.wrong.length === 0) await sleep(5)
    while (sessions.tally.right < enoughInSessions && sessions.tally.wrong.size === 0) await sleep(5)
  }
  await allOpen()
  await moreCalls(200)

  const took: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, port] of ports.entries()) {
      const began = performance.now()
      replicas[index]!.child.kill('SIGTERM')
      t.same(await replicas[index]!.ended, { code: 0, signal: null }, `replica ${index + 1}, round ${round + 1}`)
      took.push(Math.round(performance.now() - began))
      t.notOk(await listens(port))
      await allOpen()
      await moreCalls(50)
      replicas[index] = await replicas[index]!.again()
      await moreCalls(100)
    }
  }
  stopped.abort()
  await Promise.all([...traffic, sessions.stop()])

  t.comment(`sessions: ${sessions.tally.right} right, ${sessions.tally.refused} refused`)
  t.strictSame(Object.fromEntries(sessions.tally.wrong), {}, 'no session is lost, no call of one is wrong')
  t.comment(
    `${calls.right} right, ${calls.refused} refused, ${calls.wrong.length} wrong; ${streams.right} streams ended, ${streams.refused} refused; milliseconds to end: ${took.join(' ')}`
  )
  t.same(calls.wrong, [])
  t.same(streams.wrong, [])
  t.ok(calls.refused <= calls.right / 100, 'hardly any was refused')
  t.ok(streams.right >= STREAMS * (2 * ROUNDS - 1), 'each replica but perhaps the first had all of the streams')
  t.ok(Math.max(...took) < IDLE_MS + (GRACE_SECONDS + 5) * 1_000)
  const served = new Set(
    nginx
      .accessLog()
      .filter(({ status }) => status === 200)
      .map(({ replica }) => String(replica).split(', ').at(-1))
  )
  t.same([...served].sort(), ports.map((port) => `127.0.0.1:${port}`).sort(), 'both had their part')
})

/** Asks the replica itself, on a connection that it need not keep. */
async function isReady (port: number): Promise<boolean> {
  const [response] = await once(get({ host: '127.0.0.1', port, path: '/health/ready', agent: false }), 'response')
  response.resume()
  return response.statusCode === 200
}

/** A replica that can be started again, on the same port. */
interface Replica extends TestProcess {
  again (): Promise<Replica>
}

async function startReplica (t: Test, port: number, env: Record<string, string>): Promise<Replica> {
  const settings = {
    PORT: String(port),
    HOST: '127.0.0.1',
    CIMD_ENABLED: 'false',
    SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS),
    // Not what is tested here.
    OAUTH_LIMIT_PER_ADDRESS: '1000000',
    MCP_LIMIT_PER_ADDRESS: '1000000',
    MCP_LIMIT_PER_PRINCIPAL: '1000000',
    CALLS_PER_PRINCIPAL: '1000',
    ...env
  }
  const process = startProcess(t, ['--enable-source-maps', TOOL_SERVER], settings, await emptyFolder(t))
  await process.printed(/Seed is ready/)
  while (!await isReady(port)) await sleep(20)
  return { ...process, again: async () => await startReplica(t, port, env) }
}
