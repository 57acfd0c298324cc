import t from 'tap'
import type { Test } from 'tap'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { startDevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import type { SignedInClient } from '../support/oauth-client.ts'
import { startPathProxy } from '../support/path-proxy.ts'
import type { PathProxy } from '../support/path-proxy.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** Seed below a path of a host, behind a proxy that passes the path on or strips it. */

const info = { name: 'base-path-test', version: '1.0.0' }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** Starts Seed with a BASE_URL below the proxy's path. Its `url` is BASE_URL. */
async function startBelow (
  t: Test, proxy: PathProxy, path: string, env: Record<string, string> = {}
): Promise<TestSeed & { direct: string }> {
  const url = `${proxy.origin}${path}`
  const redirectUris = [`${url}/oauth/callback`]
  const provider = await startDevProvider({
    algorithm: 'ES256', ...(env['OAUTH_MODE'] !== 'proxy' && { fixedRedirectUris: redirectUris })
  })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, {
    sharedProvider: provider, env: { OAUTH_MODE: 'broker', BASE_URL: `${url}/`, ...env }
  })
  await ready(seed)
  proxy.route(path, Number(new URL(seed.url).port))
  return { ...seed, url, direct: seed.url }
}

async function callWithV1 (t: Test, url: URL, oauth: SignedInClient): Promise<unknown> {
  const first = new TransportV1(url, { authProvider: oauth.provider as never })
  await t.rejects(new ClientV1(info).connect(first as never), { message: 'Unauthorized' })
  await first.finishAuth((await oauth.signIn()).searchParams.get('code')!)
  const client = new ClientV1(info)
  await client.connect(new TransportV1(url, { authProvider: oauth.provider as never }) as never)
  const { structuredContent } = await client.callTool({ name: 'seed_ping', arguments: {} })
  await client.close()
  return structuredContent
}

async function callWithV2 (t: Test, url: URL, oauth: SignedInClient): Promise<unknown> {
  const first = new StreamableHTTPClientTransport(url, { authProvider: oauth.provider })
  await t.rejects(new Client(info).connect(first), { message: 'Unauthorized' })
  await first.finishAuth((await oauth.signIn()).searchParams)
  const client = new Client(info)
  await client.connect(new StreamableHTTPClientTransport(url, { authProvider: oauth.provider }))
  const { structuredContent } = await client.callTool({ name: 'seed_ping', arguments: {} })
  await client.close()
  return structuredContent
}

for (const [strips, mode] of [[false, 'broker'], [true, 'broker'], [false, 'proxy'], [true, 'proxy']] as const) {
  t.test(`real clients sign in below a path, ${mode} mode, the proxy ${strips ? 'strips it' : 'passes it on'}`,
    async (t) => {
      const proxy = await startPathProxy(t, { strips })
      const seed = await startBelow(t, proxy, '/tools/seed', { OAUTH_MODE: mode })
      for (const [name, call] of [['SDK v1', callWithV1], ['SDK v2', callWithV2]] as const) {
        const oauth = createOAuthClient()
        t.match(await call(t, new URL(`${seed.url}/mcp`), oauth), { status: 'ok', caller: { subject: 'ada' } }, name)
        const { iss, aud } = claimsOf(oauth.tokens().access_token)
        if (mode === 'broker') t.same({ iss, aud }, { iss: seed.url, aud: `${seed.url}/mcp` }, 'issuer and audience')
      }
    })
}

function claimsOf (token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
}

t.test('below a path, documents are at every place where clients look, and name only addresses below it', async (t) => {
  const proxy = await startPathProxy(t)
  const { url, direct } = await startBelow(t, proxy, '/seed')
  const fetchJson = async (address: string) => {
    const response = await fetch(address)
    t.equal(response.status, 200, address)
    return await response.json() as Record<string, unknown>
  }
  for (const address of [
    `${proxy.origin}/.well-known/oauth-protected-resource/seed/mcp`,
    `${url}/.well-known/oauth-protected-resource/mcp`,
    `${url}/.well-known/oauth-protected-resource`
  ]) t.match(await fetchJson(address), { resource: `${url}/mcp`, authorization_servers: [url] }, address)
  for (const address of [
    `${proxy.origin}/.well-known/oauth-authorization-server/seed`,
    `${proxy.origin}/.well-known/openid-configuration/seed`,
    `${url}/.well-known/openid-configuration`,
    `${url}/.well-known/oauth-authorization-server`
  ]) {
    const metadata = await fetchJson(address)
    t.equal(metadata['issuer'], url, address)
    const endpoints = Object.entries(metadata).filter(([name]) => /_(endpoint|uri)$/.test(name))
    t.ok(endpoints.length >= 5 && endpoints.every(([, value]) => String(value).startsWith(`${url}/`)), address)
    await fetchJson(String(metadata['jwks_uri']))
  }
  const refused = await fetch(`${url}/mcp`, { method: 'POST', body: '{}' })
  t.equal(refused.status, 401)
  t.match(refused.headers.get('www-authenticate'),
    `resource_metadata="${proxy.origin}/.well-known/oauth-protected-resource/seed/mcp"`)
  const unknown = await fetch(`${url}/nothing?x=1`)
  t.match(await unknown.json(), { message: `There is nothing at this path. MCP clients connect to ${url}/mcp` })
  for (const path of ['/seedling/mcp', '/.well-known/oauth-authorization-server/other', '/seed/seed/mcp']) {
    t.equal((await fetch(`${direct}${path}`, { method: 'POST' })).status, 404, path)
  }
})

t.test('below a path, probes have /health at the replica alone, and the proxy makes it public under no spelling',
  async (t) => {
    for (const strips of [false, true]) {
      const proxy = await startPathProxy(t, { strips })
      const { url, direct } = await startBelow(t, proxy, '/seed')
      t.equal((await fetch(`${direct}/health/live`)).status, 200)
      for (const path of ['/seed/health/live', '/seed/%68ealth/live', '/%73eed/health/live', '/seed//health/live']) {
        t.equal((await fetch(`${direct}${path}`)).status, 404, path)
      }
      if (strips) t.equal((await fetch(`${url}/seed/health/live`)).status, 404, 'behind one that strips')
    }
  })

t.test('below a path, pages, their links, forms and icon are below it', async (t) => {
  const proxy = await startPathProxy(t)
  const { writeFileSync } = await import('node:fs')
  const icon = `${t.testdir()}/icon.svg`
  writeFileSync(icon, '<svg xmlns="http://www.w3.org/2000/svg"/>')
  const seed = await startBelow(t, proxy, '/seed', { SERVER_ICON: icon })
  for (const address of [seed.url, `${seed.url}/`]) {
    const page = await (await fetch(address)).text()
    t.match(page, 'src="/seed/icon"', address)
    t.match(page, 'href="/seed/connections"', address)
    t.match(page, `${seed.url}/mcp`, address)
  }
  t.equal((await fetch(`${seed.url}/icon`)).headers.get('content-type'), 'image/svg+xml')

  const browser = createBrowser()
  const start = await browser.get(`${seed.url}/connections`)
  t.same(start.forms.map(({ action }) => action.pathname), ['/seed/connections/sign-in'])
  t.match(start.body, `<bdi>${new URL(seed.url).host}/seed</bdi>`, 'it says of which of the host\'s applications')
  let page = await browser.submit(start.forms[0]!)
  page = await browser.submit(page.forms[0]!, { login: 'ada', password: 'ada' })
  for (let step = 0; step < 3 && page.url.origin !== proxy.origin; step++) page = await browser.submit(page.forms[0]!)
  t.equal(page.url.href, `${seed.url}/connections`)
  t.same(page.forms.map(({ action }) => action.pathname), ['/seed/connections/sign-out'])
  const signedOut = await browser.submit(page.forms[0]!)
  t.equal(signedOut.url.href, `${seed.url}/connections`)
  t.match(signedOut.body, 'You are signed out here')
  const foreign = await fetch(`${seed.url}/connections/sign-in`, {
    method: 'POST', headers: { ...FORM, origin: 'https://evil.example' }
  })
  t.match(await foreign.text(), 'href="/seed/connections"', 'an error page leads back below the path')
})

t.test('two Seeds below different paths of one host have cookies of their own', async (t) => {
  const proxy = await startPathProxy(t)
  const [sales, ops] = [await startBelow(t, proxy, '/sales'), await startBelow(t, proxy, '/ops')]
  const browser = createBrowser()
  const clients = [sales, ops].map(({ url }) => ({ url: new URL(`${url}/mcp`) }))
  // Both sign-ins are begun in one browser before either of them is finished.
  const asked: URL[] = []
  const oauth = clients.map(() => createOAuthClient(undefined, undefined, {
    signIn: async (url) => {
      asked.push(url)
      return url
    }
  }))
  for (const [index, { url }] of clients.entries()) {
    const transport = new StreamableHTTPClientTransport(url, { authProvider: oauth[index]!.provider })
    await t.rejects(new Client(info).connect(transport), { message: 'Unauthorized' })
    await oauth[index]!.signIn()
  }
  const consents = [await browser.get(asked[0]!), await browser.get(asked[1]!)]
  for (const [index, page] of consents.entries()) {
    const name = ['sales', 'ops'][index]!
    t.match(page.headers['set-cookie']?.[0], /^seed_[\w-]{8}-.*; Path=\/; HttpOnly/, name)
    t.equal(page.forms[0]!.action.pathname, `/${name}/oauth/consent`)
    t.match(page.body, `<title>Allow Flow test to use ${new URL(proxy.origin).host}/${name}?</title>`)
  }
  const names = consents.map(({ headers }) => headers['set-cookie']![0]!.slice(0, 13))
  t.not(names[0], names[1])
  for (const consent of consents) {
    let page = await browser.submit(consent.forms[0]!, { decision: 'approve' })
    while (page.status !== 0) {
      page = await browser.submit(page.forms[0]!, page.forms[0]!.names.includes('login') ? { login: 'ada', password: 'ada' } : {})
    }
    t.ok(page.url.searchParams.get('code'), page.url.href)
  }
})

t.test('a token for a Seed below one path is refused below another', async (t) => {
  const proxy = await startPathProxy(t)
  const secret = { SEED_SECRET: 'the SEED_SECRET of these tests, 44 bytes long' }
  const [sales, ops] = [await startBelow(t, proxy, '/sales', secret), await startBelow(t, proxy, '/ops', secret)]
  const oauth = createOAuthClient()
  await callWithV2(t, new URL(`${sales.url}/mcp`), oauth)
  const send = async (url: string) => await fetch(`${url}/mcp`, {
    method: 'POST', body: '{}', headers: { authorization: `Bearer ${oauth.tokens().access_token}` }
  })
  t.not((await send(sales.url)).status, 401)
  const refused = await send(ops.url)
  t.equal(refused.status, 401)
  t.match(refused.headers.get('www-authenticate'), 'error="invalid_token"')
})

t.test('without a path nothing is rewritten', async (t) => {
  const seed = await startSeed(t, { env: { AUTH_REQUIRED: 'false' } })
  t.equal((await fetch(`${seed.url}/seed/mcp`, { method: 'POST' })).status, 404)
})
