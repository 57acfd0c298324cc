import { once } from 'node:events'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { openBrowser } from '../../src/commands/open-browser.ts'
import { createBrowser } from '../support/browser.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { freePort } from '../support/free-port.ts'
import { COMPILED_CLI, emptyFolder, startProcess, writeDotenv } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'
import type { CommandOutcome } from '../support/run-command.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'

const ADA = { login: 'ada', password: 'ada' }
const MODES = ['broker', 'proxy']

/** A person at a browser, who is given the address that the command prints. */
type Person = (authorizationUrl: URL) => Promise<unknown>

const signIn: Person = async (url) => await fetch(await createBrowser().signIn(url, ADA))

/** Runs `seed token`, and hands the printed address to a person. */
async function token (
  args: string[], person: Person = signIn, environment: Record<string, string> = {}
): Promise<CommandOutcome & { authorizationUrl?: URL }> {
  let authorizationUrl: URL | undefined
  let visit: Promise<unknown> | undefined
  const outcome = await runCommand(['token', ...args], environment, (text) => {
    const url = /^http\S+$/m.exec(text)?.[0]
    if (!text.startsWith('Open this address') || url === undefined) return
    authorizationUrl = new URL(url)
    visit = person(authorizationUrl)
  })
  await visit
  return { ...outcome, ...(authorizationUrl !== undefined && { authorizationUrl }) }
}

for (const mode of MODES) {
  t.test(`seed token prints an access token that curl can use, and nothing else: ${mode} mode`, async (t) => {
    const seed = await startSeed(t, { env: { OAUTH_MODE: mode } })
    await ready(seed)
    let page = ''
    const { code, printed, printedErrors, authorizationUrl } = await token([`${seed.url}/mcp`], async (url) => {
      page = await (await signIn(url) as Response).text()
    })

    t.equal(code, 0, printedErrors)
    t.match(printed, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    t.equal((await ping(seed.url, printed.trim())).status, 200)
    t.match(page, /^Signed in\. You can close this tab/)
    t.notMatch(printedErrors, printed.trim(), 'the token is not on standard error')
    t.notOk(seed.logs.some((line) => JSON.stringify(line).includes(printed.trim())), 'nor in the log of the server')
    t.match(Object.fromEntries(authorizationUrl!.searchParams), {
      response_type: 'code',
      client_id: /^seed-/,
      redirect_uri: /^http:\/\/127\.0\.0\.1:\d+\/callback$/,
      scope: 'openid profile email',
      resource: `${seed.url}/mcp`,
      code_challenge_method: 'S256'
    })
  })

  t.test(`a person who denies the sign-in gets no token, and the command says so: ${mode} mode`, async (t) => {
    const seed = await startSeed(t, { env: { OAUTH_MODE: mode } })
    await ready(seed)
    const { code, printed, printedErrors } = await token([seed.url], async (url) => {
      const browser = createBrowser()
      const [form] = (await browser.get(url)).forms
      const { url: back } = await browser.submit(form!, { decision: 'deny' })
      const response = await fetch(back)
      t.equal(response.status, 400)
      t.match(await response.text(), /The terminal says why/)
    })
    t.same([code, printed], [1, ''])
    t.match(printedErrors, /The sign-in was denied: access_denied.*run the command again and choose Allow\n$/)
  })
}

t.test('--json prints the whole answer, with a refresh token; the plain command asks for none', async (t) => {
  const seed = await startSeed(t, { env: { OAUTH_MODE: 'broker' } })
  await ready(seed)
  const { printed } = await token([seed.url, '--json', '--scope', 'openid email'])
  const answer = JSON.parse(printed)
  t.match(answer, { access_token: String, refresh_token: String, token_type: 'bearer', scope: 'openid email' })
  t.equal((await ping(seed.url, answer.access_token)).status, 200)

  const clients = new Set<string | null>()
  for (let run = 0; run < 2; run++) {
    const { authorizationUrl } = await token([seed.url])
    clients.add(authorizationUrl!.searchParams.get('client_id'))
  }
  t.equal(clients.size, 1, 'another run is the same client, whatever its port')
})

t.test('without a URL it signs in where BASE_URL or PORT say that the server is', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  t.equal((await token([], signIn, { BASE_URL: seed.url })).code, 0)
  const belowPath = await startSeed(t, { basePath: '/seed' })
  await ready(belowPath)
  t.equal((await token([], signIn, { BASE_URL: `${belowPath.url}/` })).code, 0, 'BASE_URL has a path')

  const port = String(await freePort())
  for (const environment of [{ PORT: port }, { BASE_URL: `http://localhost:${port}/` }]) {
    t.match((await token([], signIn, environment)).printedErrors, `http://localhost:${port}/mcp cannot be reached`)
  }

  const folder = await emptyFolder(t)
  await writeDotenv(folder, `PORT=${port}\nOIDC_ISSUER=what the server needs is not read`)
  const cli = startProcess(t, ['--enable-source-maps', COMPILED_CLI, 'token'], {}, folder)
  t.equal((await cli.ended).code, 1)
  t.match(await cli.output(), new RegExp(`^http://localhost:${port}/mcp cannot be reached`), 'so it is in .env')
})

t.test('--client-id and --redirect-uri are for clients that the server or the provider knows', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const port = await freePort()
  const redirectUri = `http://localhost:${port}/callback`
  const known = await token([seed.url, '--client-id', 'claude-code', '--redirect-uri', redirectUri])
  t.equal(known.code, 0, known.printedErrors)
  t.match(Object.fromEntries(known.authorizationUrl!.searchParams), {
    client_id: 'claude-code', redirect_uri: redirectUri
  })

  const ipv6 = await token([seed.url, '--redirect-uri', 'http://[::1]/back'], async (url) => {
    const back = new URL(url.searchParams.get('redirect_uri')!)
    t.equal(back.hostname, '[::1]')
    await fetch(`${back.href}?error=access_denied&state=${url.searchParams.get('state')}`)
  })
  t.match(ipv6.printedErrors, 'The sign-in was denied: access_denied. To allow it')

  const taken = createServer().listen(port, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => { taken.close() })
  t.match((await token([seed.url, '--redirect-uri', redirectUri])).printedErrors,
    `Port ${port} cannot be listened on (EADDRINUSE): stop what listens there, or choose another one`)
})

t.test('the browser cannot be made to end somebody else\'s sign-in, nor to give it a code of another server', async (t) => {
  const seed = await startSeed(t, { env: { OAUTH_MODE: 'broker' } })
  await ready(seed)
  const { code, printed, printedErrors } = await token([seed.url], async (url) => {
    const back = new URL(url.searchParams.get('redirect_uri')!)
    t.equal((await fetch(new URL('/favicon.ico', back))).status, 404)
    t.equal((await fetch(`${back.href}?code=stolen&state=guessed`)).status, 400)
    t.equal((await fetch(`${back.href}?error=access_denied`)).status, 400)
    const answer = { state: url.searchParams.get('state')!, code: 'c', iss: 'https://evil.example.com' }
    t.equal((await fetch(`${back.href}?${new URLSearchParams(answer)}`)).status, 400)
  })
  t.same([code, printed], [1, ''])
  t.match(printedErrors, /unexpected "iss".*see "Proxy mode" in docs\/providers\.md/)

  const unknown = await token([seed.url], async (url) => {
    const answer = { state: url.searchParams.get('state')!, code: 'made-up', iss: seed.url }
    await fetch(`${url.searchParams.get('redirect_uri')}?${new URLSearchParams(answer)}`)
  })
  t.match(unknown.printedErrors, /The token endpoint gave no token: 400 invalid_grant \(/)

  const refused = await token([seed.url], async (url) => {
    const answer = { state: url.searchParams.get('state')!, error: 'server_error', iss: seed.url }
    await fetch(`${url.searchParams.get('redirect_uri')}?${new URLSearchParams(answer)}`)
  })
  t.match(refused.printedErrors, /The server refused the sign-in: server_error\n/)
})

t.test('it does not wait for ever', async (t) => {
  const seed = await startSeed(t)
  const { code, printedErrors } = await token([seed.url, '--timeout', '0.1'], async () => {})
  t.equal(code, 1)
  t.match(printedErrors, /Nobody has signed in within 0\.1 seconds\. Run the command again/)
})

t.test('an address that is no MCP server, or another one, is explained', async (t) => {
  const seed = await startSeed(t)
  const open = await startSeed(t, { env: { AUTH_REQUIRED: 'false' } })
  const port = new URL(seed.url).port
  for (const [url, message] of [
    [`http://127.0.0.1:${await freePort()}`, /cannot be reached \(ECONNREFUSED\)\. Is the server running there \(npm run dev/],
    [seed.provider.issuer, /answered 404 to a request without a token, and not 401: .* no MCP endpoint\. The endpoint of/],
    [open.url, /: it needs no token \(AUTH_REQUIRED=false\)/],
    [`http://localhost:${port}`, new RegExp(`calls itself ${seed.url}/mcp: run seed token ${seed.url}/mcp`)],
    ['http://seed.example.com', /must use https: only on this machine may a token travel unencrypted\nseed token --help /],
    ['ftp://localhost/mcp', /must use https/],
    ['localhost', /URL must be an absolute URL \(it is "localhost"\)/]
  ] as const) {
    const { code, printed, printedErrors } = await token([url])
    t.same([code, printed], [1, ''], url)
    t.match(printedErrors, message)
  }
})

t.test('wrong options are explained', async (t) => {
  for (const [args, message] of [
    [['http://localhost:1', 'http://localhost:2'], /too many arguments for 'token'/],
    [['--timeout', 'soon'], '--timeout is a number of seconds'],
    [['--timeout', '-1'], /--timeout/],
    [['--redirect-uri', 'https://example.com/back'], '--redirect-uri must be an http address of this machine'],
    [['--redirect-uri', 'back'], '--redirect-uri must be an absolute URL'],
    [['--nosuch'], /unknown option '--nosuch'/]
  ] as const) {
    const { code, printedErrors } = await token([...args])
    t.equal(code, 1)
    t.match(printedErrors, message)
    t.match(printedErrors, /^seed token: .*\n(.*\n)?seed token --help shows its options/)
  }
  const { printed } = await token(['--help'])
  t.match(printed, /TOKEN=\$\(seed token/)
})

t.test('other servers than Seed: what is wrong with their metadata is said', async (t) => {
  const sound = (base: string): OtherServer => ({
    challenge: `Bearer resource_metadata="${base}/resource"`,
    '/resource': { resource: `${base}/mcp`, authorization_servers: [base] },
    '/.well-known/oauth-authorization-server': {
      issuer: base,
      authorization_endpoint: `${base}/authorize`,
      token_endpoint: `${base}/token`,
      registration_endpoint: `${base}/register`
    }
  })
  const metadata = (base: string) => sound(base)['/.well-known/oauth-authorization-server'] as object

  for (const [what, change, message, args = []] of [
    ['no metadata', () => ({ '/resource': undefined }), /has no usable protected resource metadata \(RFC 9728\): /],
    ['metadata that is not JSON', () => ({ '/resource': 'hello' }), /has no usable protected resource metadata/],
    ['metadata on plain http', () => ({ challenge: 'Bearer resource_metadata="http://10.0.0.1/r"' }),
      /names http:\/\/10\.0\.0\.1\/r, which is not https: its operator must set BASE_URL/],
    ['a redirect', () => ({ '/resource': new URL('http://localhost/x') }),
      /answered with a redirect to http:\/\/localhost\/x, which is not followed\. Name the address that does answer/],
    ['another issuer', (base) => ({ '/.well-known/oauth-authorization-server': { ...metadata(base), issuer: 'x' } }),
      /has no usable authorization server metadata: /],
    ['no authorization endpoint', (base) => ({ '/.well-known/oauth-authorization-server': { issuer: base } }),
      /has no authorization endpoint: nobody can sign in there/],
    ['an authorization endpoint that is a script', (base) => ({
      '/.well-known/oauth-authorization-server': { ...metadata(base), authorization_endpoint: 'javascript:alert(1)' }
    }), 'javascript:alert(1) is not https: nobody should sign in there', ['--client-id', 'x']],
    ['no registration', (base) => ({
      '/.well-known/oauth-authorization-server': { ...metadata(base), registration_endpoint: undefined }
    }), /registers no clients: name one that it knows with --client-id/],
    ['a registration that is refused', () => ({ '/register': { error: 'access_denied' } }),
      /registered no client; --client-id names one without registering: 400 access_denied\n/]
  ] as Array<[string, (base: string) => OtherServer, string | RegExp, string[]?]>) {
    const url = await startOther(t, (base) => ({ ...sound(base), ...change(base) }))
    const { code, printedErrors } = await token([url, ...args])
    t.equal(code, 1, what)
    t.match(printedErrors, message, what)
  }

  const plain = await startOther(t, (base) => ({
    ...sound(base),
    challenge: undefined,
    '/.well-known/oauth-protected-resource/mcp': { resource: `${base}/mcp`, scopes_supported: ['a', 'b'] }
  }))
  const { authorizationUrl } = await token([plain, '--client-id', 'x', '--timeout', '0.1'], async () => {})
  t.equal(authorizationUrl!.searchParams.get('scope'), 'a b', 'without a challenge, the well-known addresses do')
})

/** What a server answers at each path; a URL is a redirect, a string is text, undefined is 404. */
type OtherServer = Record<string, object | string | undefined> & { challenge?: string | undefined }

async function startOther (t: Test, answers: (base: string) => OtherServer): Promise<string> {
  const server = createServer((request: IncomingMessage, response) => {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const { challenge, ...paths } = answers(base)
    if (request.url === '/mcp') {
      return response.writeHead(401, challenge === undefined ? {} : { 'www-authenticate': challenge }).end()
    }
    const answer = paths[request.url!]
    if (answer instanceof URL) return response.writeHead(302, { location: answer.href }).end()
    const isError = answer === undefined || (typeof answer === 'object' && 'error' in answer)
    response.writeHead(isError ? 400 : 200, { 'content-type': 'application/json' })
    return response.end(typeof answer === 'string' ? answer : JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('--open hands the address to the browser of each system, and no shell reads it', async (t) => {
  const folder = await emptyFolder(t)
  for (const program of ['xdg-open', 'open', 'rundll32']) {
    const path = join(folder, program)
    await writeFile(path, `#!/bin/sh\nprintf '%s\\n' ${program} "$@" > ${path}.part && mv ${path}.part ${path}.args\n`)
    await chmod(path, 0o755)
  }
  const path = process.env['PATH']
  t.teardown(() => { process.env['PATH'] = path })

  const seed = await startSeed(t)
  process.env['PATH'] = `${folder}:${path}`
  const outcome = await token([seed.url, '--open', '--timeout', '0.5'], async () => {})
  await until(async () => await readArguments(join(folder, 'xdg-open')) !== undefined, 'xdg-open has run')
  t.same(await readArguments(join(folder, 'xdg-open')), ['xdg-open', outcome.authorizationUrl!.href])

  const url = new URL('http://localhost/?a=$(touch+x)&b=;id')
  for (const [platform, program, ...args] of [
    ['darwin', 'open'], ['win32', 'rundll32', 'url.dll,FileProtocolHandler']
  ] as const) {
    t.equal(await openBrowser(url, platform), true)
    await until(async () => await readArguments(join(folder, program)) !== undefined, `${program} has run`)
    t.same(await readArguments(join(folder, program)), [program, ...args, url.href])
  }

  process.env['PATH'] = await emptyFolder(t)
  const without = await token([seed.url, '--open', '--timeout', '0.1'], async () => {})
  t.match(without.printedErrors, 'No browser could be opened here')
})

async function readArguments (program: string): Promise<string[] | undefined> {
  return (await readFile(`${program}.args`, 'utf8').catch(() => undefined))?.trim().split('\n')
}

t.test('seed token signs in at another MCP endpoint, by its name or path, and says which ones there are', async (t) => {
  const env = { OAUTH_MODE: 'broker', SEED_SECRET: 'x'.repeat(64), SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: {} } }) }
  const seed = await startSeed(t, { env })
  await ready(seed)
  const sales = `${seed.url}/mcp/sales`
  const port = { BASE_URL: seed.url }
  for (const args of [[seed.url, '--endpoint', 'sales'], ['--endpoint', '/mcp/sales'], [`${seed.url}/mcp/`, '--endpoint', 'sales'], [`${seed.url}/mcp/ops`, '--endpoint', 'sales']]) {
    const { code, printed, printedErrors } = await token(args, signIn, port)
    t.equal(code, 0, printedErrors)
    t.equal(decodeJwt(printed.trim()).aud, sales, args.join(' '))
  }
  const main = await token([sales.replace('/sales', ''), '--endpoint', '/mcp'])
  t.equal(decodeJwt(main.printed.trim()).aud, `${seed.url}/mcp`)
  t.match(await token([seed.url, '--endpoint', 'ops']), {
    code: 1,
    printedErrors: `${seed.url}/mcp/ops answered 404 to a request without a token, and not 401: it needs no token ` +
      '(AUTH_REQUIRED=false), or it is no MCP endpoint. The endpoint of Seed is BASE_URL with /mcp behind it. The server ' +
      `says: There is nothing at this path. MCP clients connect to ${seed.url}/mcp or ${sales}\n`
  })
  t.match(await token(['--endpoint', 'a/b']), {
    code: 1, printedErrors: /--endpoint is the name or the path of an MCP endpoint: sales, \/mcp\/sales \(it is "a\/b"\)/
  })
  for (const [path, expected] of [
    ['/base/', '/base/mcp/sales'], ['/base', '/base/mcp/sales'], ['/base/mcp/ops/', '/base/mcp/sales'],
    ['/mcp/mcp', '/mcp/mcp/sales'], ['/mcp/mcp/ops', '/mcp/mcp/sales'], ['/a-mcp', '/a-mcp/mcp/sales']
  ] as const) {
    const { code, printedErrors } = await token([`https://seed.invalid${path}`, '--endpoint', 'sales'])
    t.equal(code, 1)
    t.equal(/https:\/\/seed\.invalid([\w/-]*)/.exec(printedErrors)?.[1], expected, path)
  }
})
