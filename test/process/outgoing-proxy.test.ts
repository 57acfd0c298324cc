import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { COMPILED_CLI, COMPILED_SERVER, SERVER, emptyFolder, startProcess, writeDotenv } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { freePort } from '../support/free-port.ts'
import { privatelySigned } from '../support/tls.ts'

const ISSUER = 'https://idp.corp.example'

/** A corporate proxy: the only way to a provider whose name nothing here resolves. */
async function startProxy (t: Test) {
  const { files } = privatelySigned(t, ['idp.corp.example'])
  const provider = createTlsServer({ key: readFileSync(files.key), cert: readFileSync(files.cert) }, (req, res) => {
    const document = {
      issuer: ISSUER,
      authorization_endpoint: `${ISSUER}/auth`,
      token_endpoint: `${ISSUER}/token`,
      jwks_uri: `${ISSUER}/jwks`
    }
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify(req.url === '/jwks' ? { keys: [] } : document))
  }).listen(0, '127.0.0.1')
  const seen: Array<{ target: string, authorization: string | undefined }> = []
  const state = { refuses: false }
  const sockets = new Set<Socket>()
  const proxy = createServer().listen(0, '127.0.0.1')
  proxy.on('connect', ({ url, headers }, socket: Socket) => {
    seen.push({ target: url!, authorization: headers['proxy-authorization'] })
    sockets.add(socket)
    socket.on('error', () => {})
    if (state.refuses) return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
    const upstream = connect((provider.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    sockets.add(upstream)
    upstream.on('error', () => { socket.destroy() })
  })
  await Promise.all([once(provider, 'listening'), once(proxy, 'listening')])
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
    provider.close()
  })
  return { seen, state, ca: files.ca, address: `127.0.0.1:${(proxy.address() as AddressInfo).port}` }
}

const startSeed = async (t: Test, env: Record<string, string>, server = SERVER) => {
  const port = String(await freePort())
  const folder = await emptyFolder(t)
  const common = { HOST: '127.0.0.1', PORT: port, BASE_URL: `http://127.0.0.1:${port}`, CIMD_ENABLED: 'false' }
  return startProcess(t, [server], { ...common, OIDC_ISSUER: ISSUER, OIDC_AUDIENCE: 'seed', ...env }, folder)
}

/** Ends the process in order: one that is killed leaves no coverage. */
async function stop ({ child, ended }: TestProcess): Promise<void> {
  child.kill('SIGTERM')
  t.match(await ended, { code: 0 })
}

for (const [name, server] of [['HTTPS_PROXY', COMPILED_SERVER], ['https_proxy', SERVER]] as const) {
  t.test(`${name} takes requests to the provider through the proxy, and the log names it without password`, async (t) => {
    const { seen, ca, address } = await startProxy(t)
    const env = { [name]: `http://ada:s3cret@${address}`, NODE_EXTRA_CA_CERTS: ca }
    const seed = await startSeed(t, env, server)
    await seed.printed(/OpenID provider discovered/)
    t.match(seen[0], { target: 'idp.corp.example:443', authorization: `Basic ${btoa('ada:s3cret')}` })
    const output = await seed.output()
    t.match(output, `"httpsProxy":"http://${address}"`)
    t.notMatch(output, 's3cret')
    await stop(seed)
  })
}

t.test('commands go through the proxy as the server does', async (t) => {
  const { seen, ca, address } = await startProxy(t)
  const env = { HTTPS_PROXY: `http://${address}`, NODE_EXTRA_CA_CERTS: ca, CIMD_ENABLED: 'false' }
  const token = startProcess(t, [COMPILED_CLI, 'token', `${ISSUER}/mcp`], env, await emptyFolder(t))
  t.match(await token.ended, { code: 1 })
  t.same(seen.splice(0).map(({ target }) => target), ['idp.corp.example:443'])
  t.notMatch(await token.output(), /cannot be reached/)

  const settings = { ...env, OIDC_ISSUER: ISSUER, OIDC_AUDIENCE: 'seed', BASE_URL: 'http://127.0.0.1:9' }
  const doctor = startProcess(t, [COMPILED_CLI, 'doctor'], settings, await emptyFolder(t))
  await doctor.ended
  t.match(await doctor.output(), /discovery: The provider is https:\/\/idp\.corp\.example/)
  t.ok(seen.length >= 2)

  const wrong = startProcess(t, [COMPILED_CLI, 'token'], { https_proxy: 'nonsense' }, await emptyFolder(t))
  await wrong.ended
  t.match(await wrong.output(), /HTTPS_PROXY must be an absolute URL/)
})

t.test('a $ in .env is a warning at start, as Docker Compose would replace it', async (t) => {
  const folder = await emptyFolder(t)
  await writeDotenv(folder, 'ACCESS_CONTACT=it$help\n')
  const port = String(await freePort())
  const seed = startProcess(t, [COMPILED_SERVER], { HOST: '127.0.0.1', PORT: port, AUTH_REQUIRED: 'false' }, folder)
  await seed.printed(/ACCESS_CONTACT in \.env contains a \$/)
  await seed.printed(/Seed is ready/)
  await stop(seed)
})

t.test('hosts of NO_PROXY and this machine are reached without the proxy', async (t) => {
  const { seen, address } = await startProxy(t)
  const direct = await startSeed(t, { HTTPS_PROXY: `http://${address}`, NO_PROXY: 'other.example,.corp.example' })
  await direct.printed(/cannot be reached \((ENOTFOUND|EAI_AGAIN)\)/)
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const proxies = { HTTPS_PROXY: `http://${address}`, HTTP_PROXY: `http://${address}` }
  const local = await startSeed(t, { ...proxies, OIDC_ISSUER: provider.issuer }, COMPILED_SERVER)
  await local.printed(/OpenID provider discovered/)
  t.same(seen, [])
  await stop(local)
})

t.test('a proxy that refuses is named with its setting', async (t) => {
  const { state, address } = await startProxy(t)
  state.refuses = true
  const seed = await startSeed(t, { HTTP_PROXY: `http://${address}` }, COMPILED_SERVER)
  await seed.printed(/cannot be reached \(Proxy response \(403\).*check HTTPS_PROXY, NO_PROXY\)/)
  await stop(seed)
})
