import { writeFile } from 'node:fs/promises'
import * as nodeModule from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { getTokens, refresh } from '../support/broker.ts'
import { BUNDLE, SERVER, emptyFolder, startProcess, startServerProcess } from '../support/process.ts'
import { modernRequest, openSession, postMcp, ready } from '../support/seed.ts'

/** The bundle that ships: dev/bundle.js makes a few files of the sources and packages. */

const moduleOf = (path: string): string => JSON.stringify(pathToFileURL(join(BUNDLE, path)).href)

t.test('what ships has its own tools, and names the lines of the sources where one fails', async (t) => {
  const folder = await emptyFolder(t)
  await writeFile(
    join(folder, 'fails.mjs'),
    `import { defineTool } from 'seed-mcp-server'
export default defineTool({ name: 'fails', description: 'gives what is no result', input: { type: 'object' }, handler: () => 7 })`
  )
  const server = await startServerProcess(t, { AUTH_REQUIRED: 'false', SEED_EXTENSIONS: join(folder, 'fails.mjs') })
  const send = async (method: string, params: Record<string, unknown>): Promise<any> => {
    const { body, headers } = modernRequest(method, params)
    return await (
      await fetch(`${server.url}/mcp`, {
        method: 'POST',
        body,
        headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
      })
    ).json()
  }
  t.same(
    (await send('tools/list', {})).result.tools.map(({ name }: { name: string }) => name),
    ['fails', 'seed_ping', 'whoami']
  )
  t.match(await send('tools/call', { name: 'fails', arguments: {} }), { result: { isError: true } })
  await server.printed(/A handler failed/)
  t.match(await server.output(), /src\/mcp\/catalog\/tool-result\.ts:\d+/)
})

t.test('what ships uses nothing that this Node.js calls deprecated: from start through a sign-in to the end', async (t) => {
  const redirectUris: string[] = []
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris })
  t.teardown(async () => { await provider.close() })
  const folder = await emptyFolder(t)
  // Node.js runs TypeScript from 22.18 on.
  const isTyped = 'stripTypeScriptTypes' in nodeModule
  const extension = join(folder, isTyped ? 'add.ts' : 'add.mjs')
  await writeFile(
    extension,
    `import { Type, defineTool } from 'seed-mcp-server'
export default defineTool({
  name: 'add', description: 'Adds', input: Type.Object({ a: Type.Number(), b: Type.Number() }),
  handler: ({ a, b }${isTyped ? ': { a: number, b: number }' : ''}) => String(a + b)
})`
  )
  const server = await startServerProcess(t, {
    OAUTH_MODE: 'broker',
    SEED_SECRET: 'the secret of a server without warnings',
    OIDC_ISSUER: provider.issuer,
    OIDC_AUDIENCE: provider.clientId,
    SEED_EXTENSIONS: extension
  }, SERVER, ['--throw-deprecation', '--trace-warnings'])
  redirectUris.push(`${server.url}/oauth/callback`)
  await ready(server)
  const tokens = await getTokens(server)
  t.match(await refresh(server.url, tokens.clientId, tokens.refreshToken), { statusCode: 200 })
  const session = await openSession(server, tokens.accessToken)
  const call = { name: 'add', arguments: { a: 1, b: 2 } }
  for (const sent of [modernRequest('tools/call', call), session.request('tools/call', call)]) {
    t.match((await postMcp(server, sent, tokens.accessToken)).body, { result: { content: [{ text: '3' }] } })
  }
  server.child.kill('SIGTERM')
  t.same(await server.ended, { code: 0, signal: null })
  t.notMatch(await server.output(), /Warning: |DEP0/)
})

t.test('what authors import is one with what ships', async (t) => {
  const folder = await emptyFolder(t)
  const script = join(folder, 'uses.mjs')
  await writeFile(
    script,
    `import { ToolError, defineTool } from ${moduleOf('index.js')}
import { createTestClient } from ${moduleOf('testing/index.js')}
const tool = defineTool({ name: 'no', description: 'refuses', input: { type: 'object' }, handler: () => { throw new ToolError('not today') } })
const client = await createTestClient({ definitions: [tool] })
console.log(JSON.stringify(await client.callTool('no', {})))
await client.close()`
  )
  const uses = startProcess(t, [script], { _TAPJS_PROCESSINFO_COVERAGE_: '0' }, folder)
  t.same(await uses.ended, { code: 0, signal: null }, await uses.output())
  t.match(JSON.parse(await uses.output()), { isError: true, content: [{ text: 'not today' }] })
})
