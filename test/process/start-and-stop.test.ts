import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { COMPILED_SERVER, DEV, SERVER, emptyFolder, startCommand, startProcess, writeDotenv } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { freePort } from '../support/free-port.ts'
import { modernRequest, ping, ready, sendModern, subscribe } from '../support/seed.ts'
import { until } from '../support/until.ts'

/** A process that has ended counts as such before anybody has asked for its exit code. */
function runs (pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

/** The process as an operator sees it: it starts, refuses to start, and ends. Real processes, real signals. */
t.test('the server process', async (t) => {
  const folder = await emptyFolder(t)
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })

  const start = (env: Record<string, string>, server = SERVER): TestProcess =>
    startProcess(t, ['--enable-source-maps', server], env, folder)
  const startListening = async (env: Record<string, string> = {}, compiled = SERVER) => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const server = start({
      PORT: String(port),
      BASE_URL: url,
      HOST: '127.0.0.1',
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      ...env
    }, compiled)
    await server.printed(/Seed is ready/)
    return { ...server, url }
  }

  t.test('lists every problem of the configuration and ends with an exit code', async (t) => {
    const server = start({ PORT: 'many', OIDC_ISSUER: 'http://auth.example.com', OAUTH_MODE: 'magic' }, COMPILED_SERVER)
    t.same(await server.ended, { code: 1, signal: null })
    const output = await server.output()
    t.match(output, /4 settings need attention/)
    for (const name of ['PORT', 'OIDC_ISSUER', 'OIDC_AUDIENCE', 'OAUTH_MODE']) t.match(output, new RegExp(`- ${name} `))
    t.notMatch(output, / at .*:\d+/, 'no stack')
  })

  t.test('says in a sentence that the port is taken', async (t) => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    t.teardown(() => { holder.close() })
    const { port } = holder.address() as AddressInfo
    const server = start({
      PORT: String(port),
      HOST: '127.0.0.1',
      BASE_URL: `http://127.0.0.1:${port}`,
      AUTH_REQUIRED: 'false'
    })
    t.same(await server.ended, { code: 1, signal: null })
    const output = await server.output()
    t.match(output, `Port ${port} is already in use: stop what listens there, or set PORT to another one`)
    t.notMatch(output, /at .*\.(ts|js):\d+/, 'no stack')
  })

  t.test('reads .env from where it is started', async (t) => {
    const port = await freePort()
    await writeDotenv(folder, `PORT=${port}\nAUTH_REQUIRED=false\nHOST=127.0.0.1\n`)
    t.teardown(async () => { await writeDotenv(folder, '') })
    const server = start({})
    await server.printed(/Seed is ready/)
    t.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200)
  })

  t.test('ends when its terminal is closed', async (t) => {
    const port = await freePort()
    const command = `echo "process $$."; PORT=${port} HOST=127.0.0.1 AUTH_REQUIRED=false exec ${process.execPath} ${SERVER}`
    const terminal = startCommand(t, 'script', ['--quiet', '--command', command, '/dev/null'], { SHELL: '/bin/sh' }, folder)
    const pid = Number((await terminal.printed(/process (\d+)\./))[1])
    t.teardown(() => { if (runs(pid)) process.kill(pid, 'SIGKILL') })
    await terminal.printed(/Seed is ready/)
    terminal.child.kill('SIGKILL')
    await until(() => !runs(pid), 'the process has ended')
  })

  t.test('AUTH_REQUIRED=false needs neither provider nor Redis, stays on loopback and says so loudly', async (t) => {
    const port = await freePort()
    const server = start({ PORT: String(port), AUTH_REQUIRED: 'false' }, COMPILED_SERVER)
    await server.printed(/Seed is ready/)
    t.match(await server.output(), /"level":40[^\n]*"host":"localhost"[^\n]*without signing in/)
    const answer = await (await ping(`http://localhost:${port}`)).json() as { result: { structuredContent: object } }
    t.match(answer.result.structuredContent, { status: 'ok', caller: null })
    t.equal(
      (await fetch(`http://localhost:${port}/.well-known/oauth-protected-resource`)).status,
      404,
      'nothing pretends that there is sign-in'
    )
    t.equal((await fetch(`http://localhost:${port}/health/ready`)).status, 200)
    server.child.kill('SIGTERM')
    t.same(await server.ended, { code: 0, signal: null })
  })

  t.test('SIGHUP opens the file of the audit log anew, and ends a server without one', async (t) => {
    const audited = await startListening({ AUDIT_LOG: join(folder, 'audit.log') }, COMPILED_SERVER)
    audited.child.kill('SIGHUP')
    await audited.printed(/opened anew/)
    t.equal((await fetch(`${audited.url}/health`)).status, 200)
    audited.child.kill('SIGTERM')
    t.same(await audited.ended, { code: 0, signal: null })
    const other = await startListening()
    other.child.kill('SIGHUP')
    t.same(await other.ended, { code: 0, signal: null })
  })

  t.test('an exception that nobody caught is logged and ends it, not with code 0', async (t) => {
    const port = await freePort()
    const throwing = 'data:text/javascript,process.on("SIGUSR2", () => { throw new Error("nobody caught this") })'
    const server = startProcess(
      t,
      ['--enable-source-maps', '--import', throwing, COMPILED_SERVER],
      { PORT: String(port), AUTH_REQUIRED: 'false' },
      folder
    )
    await server.printed(/Seed is ready/)
    server.child.kill('SIGUSR2')
    t.same(await server.ended, { code: 1, signal: null })
    t.match(
      await server.output(),
      /"level":60[^\n]*"message":"nobody caught this"[^\n]*An unexpected error ends the server/
    )
  })

  t.test('a promise that a tool does not await is logged with its name when it fails, and ends nothing', async (t) => {
    await writeFile(join(folder, 'floating.mjs'), `
      import { Type, defineTool } from 'seed-mcp-server'
      const pause = () => new Promise((resolve) => { setTimeout(resolve, 1) })
      export default defineTool({
        name: 'floating',
        description: 'Leaves promises alone',
        input: Type.Object({}),
        handler () {
          void (async () => { await pause(); throw new Error('nobody awaits this') })()
          void Promise.reject(null)
          return 'done'
        }
      })`)
    const server = await startListening({ SEED_EXTENSIONS: './floating.mjs' }, COMPILED_SERVER)
    await ready(server)
    const token = await provider.mint()
    const request = modernRequest('tools/call', { name: 'floating', arguments: {} })
    for (let times = 0; times < 3; times++) {
      const response = await sendModern(server.url, request, token)
      t.match(await response.json(), { result: { content: [{ text: 'done' }] } })
    }
    await server.printed(/"message":"nobody awaits this"[^\n]*"definitions":\["Tool \\"floating\\""\][^\n]*must await it/)
    await server.printed(/"type":"null"[^\n]*"definitions":\[\][^\n]*must await it/)
    t.equal((await ping(server.url, token)).status, 200)
    server.child.kill('SIGTERM')
    t.same(await server.ended, { code: 0, signal: null })
  })

  t.test('SIGTERM ends it with code 0, idle connections and an open stream included', async (t) => {
    const server = await startListening()
    await ready(server)
    await ping(server.url, await provider.mint())
    const stream = await subscribe(server.url, await provider.mint())
    t.equal(stream.status, 200)
    const events = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    t.match((await events.read()).value, 'notifications/subscriptions/acknowledged')
    const started = Date.now()
    server.child.kill('SIGTERM')
    let rest = ''
    for (let event = await events.read(); !event.done; event = await events.read()) rest += event.value
    t.match(rest, /"resultType":"complete"/, 'the stream is told')
    t.same(await server.ended, { code: 0, signal: null })
    t.ok(Date.now() - started < 10_000)
    t.match(await server.output(), /Shutting down/)
  })

  t.test('SIGTERM while the provider and Redis are away ends it just the same', async (t) => {
    const server = await startListening({ OIDC_ISSUER: 'http://127.0.0.1:9', REDIS_URL: 'redis://127.0.0.1:9' })
    server.child.kill('SIGTERM')
    t.same(await server.ended, { code: 0, signal: null })
  })

  /** GET on a connection of its own that the client keeps. */
  function keptConnection (
    t: Test,
    url: string
  ): (path: string) => Promise<{ status: number; connection: string; body: string }> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => { agent.destroy() })
    return async (path) => {
      const [response] = await once(request(url + path, { agent }).end(), 'response')
      return { status: response.statusCode, connection: response.headers.connection, body: await text(response) }
    }
  }

  async function listens (url: string): Promise<boolean> {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    const opened = await once(socket, 'connect').then(() => true, () => false)
    socket.destroy()
    return opened
  }

  t.test('SIGTERM: readiness is off and nobody new comes in, while a request that is on its way is answered', async (t) => {
    const server = await startListening({ AUTH_REQUIRED: 'false' })
    const probe = keptConnection(t, server.url)
    t.match(await probe('/health/ready'), { status: 200, connection: 'keep-alive' })
    const body = JSON.stringify({ no: 'call' })
    const slow = request(`${server.url}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': body.length, expect: '100-continue' }
    })
    slow.flushHeaders()
    await once(slow, 'continue')

    server.child.kill('SIGTERM')
    await server.printed(/Shutting down/)
    t.match(await probe('/health/ready'), { status: 503, body: '{"status":"shutting down"}' })
    while (await listens(server.url));
    slow.end(body)
    const [response] = await once(slow, 'response')
    t.match(response, { statusCode: 400, headers: { connection: 'close' } })
    t.match(JSON.parse(await text(response)), { jsonrpc: '2.0', error: Object })
    t.same(await server.ended, { code: 0, signal: null })
    t.equal((await server.output()).match(/Shutting down/g)?.length, 1)
  })

  t.test('SHUTDOWN_DELAY_SECONDS: everything but readiness goes on for so long', async (t) => {
    const server = await startListening({ AUTH_REQUIRED: 'false', SHUTDOWN_DELAY_SECONDS: '60' })
    server.child.kill('SIGTERM')
    await server.printed(/Shutting down/)
    t.equal((await fetch(`${server.url}/health/ready`)).status, 503)
    for (const path of ['/health', '/health/live']) t.equal((await fetch(server.url + path)).status, 200, path)
    server.child.kill('SIGTERM')
    t.same(await server.ended, { code: 1, signal: null }, 'a second signal ends it at once')
  })

  /** A request whose body never comes; resolves once the server has its head and waits for more. */
  async function sendHalf (url: string, token: string): Promise<void> {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(
      `POST /mcp HTTP/1.1\r\nHost: ${new URL(url).host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\nAuthorization: Bearer ${token}\r\nExpect: 100-continue\r\n\r\n`
    )
    const [chunk] = await once(socket, 'data')
    if (!String(chunk).startsWith('HTTP/1.1 100')) throw new Error(String(chunk))
  }

  t.test('SIGTERM does not wait for a request that never arrives whole', async (t) => {
    const server = await startListening({ SHUTDOWN_GRACE_SECONDS: '1' })
    await ready(server)
    await sendHalf(server.url, await provider.mint())
    server.child.kill('SIGTERM')
    t.same(await server.ended, { code: 0, signal: null })
  })

  t.test('a second signal ends it at once', async (t) => {
    const server = await startListening({ SHUTDOWN_GRACE_SECONDS: '60' })
    await ready(server)
    await sendHalf(server.url, await provider.mint())
    server.child.kill('SIGTERM')
    await server.printed(/Shutting down/)
    server.child.kill('SIGTERM')
    const { code, signal } = await server.ended
    t.ok(code === 1 || signal !== null, 'not an orderly end')
  })
})

t.test('npm run dev', async (t) => {
  const folder = await emptyFolder(t)
  const [port, providerPort] = [await freePort(), await freePort()]
  const env = { PORT: String(port), DEV_PROVIDER_PORT: String(providerPort) }
  const dev = startProcess(t, [DEV], env, folder)
  await dev.printed(/Ctrl-C stops everything/)
  const output = await dev.output()
  const url = `http://localhost:${port}`

  t.test('prints what a person needs next', async (t) => {
    t.match(output, `MCP endpoint   ${url}/mcp`)
    t.match(output, /Sign in as {5}ada \(password ada\)/)
    t.match(output, `claude mcp add --transport http seed ${url}/mcp`)
  })

  t.test('a script can sign in and call seed_ping', async (t) => {
    const verifier = 'a-verifier-of-at-least-forty-three-characters-0'
    const challenge = Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))).toString(
      'base64url'
    )
    const redirectUri = 'http://127.0.0.1:50999/callback'
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: 'script',
      redirect_uri: redirectUri,
      code_challenge: challenge,
      code_challenge_method: 'S256'
    })
    const back = await createBrowser().signIn(`${url}/oauth/authorize?${query.toString()}`, {
      login: 'ada',
      password: 'ada'
    })
    const tokens = (await (
      await fetch(`${url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          client_id: 'script',
          code: back.searchParams.get('code')!,
          redirect_uri: redirectUri,
          code_verifier: verifier
        })
      })
    ).json()) as { access_token: string; refresh_token: string }
    t.match(await (await ping(url, tokens.access_token)).json(), {
      result: { structuredContent: { caller: { subject: 'ada', groups: ['engineering', 'admins'] } } }
    })
    t.ok(tokens.refresh_token)
  })

  t.test('an occupied port is a sentence', async (t) => {
    const second = startProcess(t, [DEV], { ...env, DEV_PROVIDER_PORT: String(await freePort()) }, folder)
    t.same(await second.ended, { code: 1, signal: null })
    t.match(await second.output(), `Port ${port} is already in use`)
    const third = startProcess(t, [DEV], { ...env, PORT: String(await freePort()) }, folder)
    t.same(await third.ended, { code: 1, signal: null })
    t.match(await third.output(), `cannot listen on port ${providerPort} (EADDRINUSE)`)
    t.notMatch(await second.output() + await third.output(), /at .*\.(ts|js):\d+/, 'no stack')
  })

  t.test('Ctrl-C ends everything', async (t) => {
    dev.child.kill('SIGINT')
    t.same(await dev.ended, { code: 0, signal: null })
    await t.rejects(fetch(`${url}/health`))
    await t.rejects(fetch(`http://127.0.0.1:${providerPort}/jwks`))
  })
})
