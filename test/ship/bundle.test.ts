import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { BUNDLE, emptyFolder, startProcess, startServerProcess } from '../support/process.ts'
import { modernRequest } from '../support/seed.ts'

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
