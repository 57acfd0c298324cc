import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readServerIcon } from '../../src/http/server-icon.ts'
import { getTokens, newRequest, register, startBroker } from '../support/broker.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'

/** The server's name, as its clients, their models and people see it. */
const folder = mkdtempSync(join(tmpdir(), 'seed-icon-'))
t.teardown(() => { rmSync(folder, { recursive: true }) })
const PNG = Buffer.from('89504e470d0a1a0a00', 'hex')
const file = (name: string, content: string | Buffer): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const NAMES = {
  SERVER_NAME: 'acme',
  SERVER_TITLE: 'Acme <tools>',
  SERVER_DESCRIPTION: 'Tickets of Acme',
  SERVER_INSTRUCTIONS_FILE: file('instructions.md', 'Look before you leap.\n'),
  SERVER_ICON: file('icon.png', PNG),
  SERVER_WEBSITE: 'https://acme.example/docs',
  SERVER_POLICY_URL: 'https://acme.example/privacy',
  SERVER_TERMS_URL: 'https://acme.example/terms',
  SERVER_OPERATOR: 'Acme IT',
  SERVER_CONTACT: 'it@acme.example',
  WELL_KNOWN_FILES: 'openai-apps-challenge=the-token=1'
}

t.test('clients, models and metadata get the name that the operator gave the server', async (t) => {
  const seed = await startBroker(t, { env: NAMES })
  const { accessToken: token } = await getTokens(seed)
  const info = {
    name: 'acme',
    title: 'Acme <tools>',
    description: 'Tickets of Acme',
    websiteUrl: 'https://acme.example/docs',
    icons: [{ src: `${seed.url}/icon`, mimeType: 'image/png' }]
  }
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const initialize = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
  const { body } = await postMcp(seed, { body: initialize, headers: {} }, token)
  t.match(body.result, { serverInfo: info, instructions: 'Look before you leap.' })
  const discovered = (await postMcp(seed, modernRequest('server/discover'), token)).body.result
  t.match(discovered, { instructions: 'Look before you leap.', _meta: { 'io.modelcontextprotocol/serverInfo': info } })

  const get = async (path: string) => await (await fetch(`${seed.url}/.well-known/${path}`)).json()
  t.match(await get('oauth-protected-resource'), {
    resource_name: 'Acme <tools>',
    resource_documentation: 'https://acme.example/docs',
    resource_policy_uri: 'https://acme.example/privacy',
    resource_tos_uri: 'https://acme.example/terms'
  })
  t.match(await get('oauth-authorization-server'), {
    service_documentation: 'https://acme.example/docs',
    op_policy_uri: 'https://acme.example/privacy',
    op_tos_uri: 'https://acme.example/terms'
  })
  const consent = await (await fetch(newRequest(seed, await register(seed.url)).url)).text()
  t.match(consent, 'On the server <bdi>Acme &#60;tools&#62;</bdi>, <code>')

  t.match(await (await fetch(`${seed.url}/oauth/authorize`)).text(),
    '<small>On the server <bdi>Acme &#60;tools&#62;</bdi>. Reference <code>', 'so does a page about an error')

  const challenge = await fetch(`${seed.url}/.well-known/openai-apps-challenge`)
  t.equal(challenge.headers.get('content-type'), 'text/plain; charset=utf-8')
  t.equal(await challenge.text(), 'the-token=1')
})

t.test('/ says what this is, who runs it and how to connect, with one command and two links', async (t) => {
  const seed = await startBroker(t, { env: NAMES })
  const response = await fetch(`${seed.url}/`)
  const page = await response.text()
  t.match(response.headers.get('cache-control'), /^public, max-age=60$/)
  t.match(response.headers.get('content-security-policy'), /img-src 'self'/)
  t.notMatch(page, /<script/)
  t.match(page, '<bdi>Acme &#60;tools&#62;</bdi>')
  t.match(page, '<a href="mailto:it@acme.example">')
  t.match(page, `claude mcp add --transport http acme ${seed.url}/mcp`)
  const [cursor, code] = [...page.matchAll(/class="button" href="([^"]+)"/g)].map(([, href]) => new URL(href!.replaceAll('&#38;', '&')))
  t.equal(cursor!.searchParams.get('name'), 'acme')
  t.same(JSON.parse(Buffer.from(cursor!.searchParams.get('config')!, 'base64').toString()), { url: `${seed.url}/mcp` })
  t.same(JSON.parse(decodeURIComponent(code!.search.slice(1))), { name: 'acme', type: 'http', url: `${seed.url}/mcp` })
  const icon = await fetch(`${seed.url}/icon`)
  t.equal(icon.headers.get('content-type'), 'image/png')
  t.match(icon.headers.get('content-security-policy'), /sandbox/)
  t.ok(Buffer.from(await icon.arrayBuffer()).equals(PNG))
  const posted = await fetch(`${seed.url}/`, { method: 'POST' })
  t.equal(posted.status, 404)
  t.match(await posted.text(), `MCP clients connect to ${seed.url}/mcp`)
})

t.test('/ says so when nobody can sign in, and can be switched off', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  t.match(await (await fetch(`${seed.url}/`)).text(), 'It is running.')
  t.equal((await fetch(`${seed.url}/icon`)).status, 404)
  const lonely = await startSeed(t, { env: { OIDC_ISSUER: 'http://127.0.0.1:1' } })
  t.match(await (await fetch(`${lonely.url}/`)).text(), 'nobody can sign in at the moment')
  const open = await startSeed(t, { env: { AUTH_REQUIRED: 'false' } })
  t.match(await (await fetch(`${open.url}/`)).text(), 'It is running.')
  const off = await startSeed(t, { env: { HOME_PAGE: 'false' } })
  t.equal((await fetch(`${off.url}/`)).status, 404)
})

t.test('an icon that cannot be shown prevents the start, with the reason', async (t) => {
  for (const [name, content, type] of [
    ['a.jpg', Buffer.from('ffd8ffe0', 'hex'), 'image/jpeg'], ['a.webp', 'RIFF....WEBP', 'image/webp'],
    ['a.svg', '<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml']
  ] as const) t.equal(readServerIcon(file(name, content)).mimeType, type)
  await t.rejects(startSeed(t, { env: { SERVER_ICON: join(folder, 'none') } }), /SERVER_ICON cannot be read: ENOENT/)
  t.throws(() => readServerIcon(file('a.html', '<html>')), /must be a PNG, JPEG, WebP or SVG/)
  t.throws(() => readServerIcon(file('a.png', Buffer.concat([PNG, Buffer.alloc(262_144)]))), /at most 262144 bytes/)
})
