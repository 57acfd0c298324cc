import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'
import { startMounted } from '../support/upstream.ts'

/** A server that none of us wrote, from npm, behind SEED_MOUNTS. Needs the npm registry. */
const PACKAGE = '@modelcontextprotocol/server-everything@2026.8.31'

t.test('clients of both eras use what server-everything offers', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'seed-everything-'))
  execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--ignore-scripts', PACKAGE])
  const port = await freePort()
  const script = join(folder, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js')
  const server = spawn(process.execPath, [script, 'streamableHttp'], {
    env: { ...process.env, PORT: String(port) }, stdio: 'ignore'
  })
  t.teardown(() => { server.kill('SIGKILL') })
  const seed = await startMounted(t, { everything: { url: `http://127.0.0.1:${port}/mcp` } })
  await until(() => seed.logs.some(({ event }) => event === 'mount.connected'), 'the server is connected')
  for (const mode of ['auto', 'legacy'] as const) {
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
    await client.connect(new StreamableHTTPClientTransport(new URL(`${seed.url}/mcp`)))
    await until(async () => (await client.listTools()).tools.length > 10, 'its tools are listed')
    const echo = await client.callTool({ name: 'everything_echo', arguments: { message: 'hi' } })
    t.match(echo.content, [{ text: 'Echo: hi' }])
    const image = await client.callTool({ name: 'everything_get-tiny-image', arguments: {} })
    t.ok(image.content.some(({ type }) => type === 'image'))
    let reports = 0
    await client.callTool({ name: 'everything_trigger-long-running-operation', arguments: { duration: 1, steps: 2 } }, {
      onprogress: () => { reports++ }
    })
    t.equal(reports, 2)
    const { resources } = await client.listResources()
    t.match(resources[0]!.uri, /^everything\+demo:/)
    t.match((await client.readResource({ uri: resources[0]!.uri })).contents, [{ uri: resources[0]!.uri }])
    await client.close()
  }
})
