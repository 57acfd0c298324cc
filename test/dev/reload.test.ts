import { once } from 'node:events'
import { cp, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import t from 'tap'
import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'
import { DEV, emptyFolder, startProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

/** `npm run dev` and files that are saved: a real process, real clients of both eras that stay connected. */

const tool = (
  name: string,
  answer: string,
  from: string,
  description = 'does'
): string => `import { Type, defineTool } from '${from}'

export const it = defineTool({ name: '${name}', description: '${description}', input: Type.Object({}), handler: () => ${answer} })
`

async function startDev (
  t: Test,
  program: string,
  cwd: string,
  env: Record<string, string> = {}
): Promise<TestProcess & { url: string }> {
  const port = await freePort()
  const dev = startProcess(
    t,
    [program],
    { PORT: String(port), DEV_PROVIDER_PORT: String(await freePort()), AUTH_REQUIRED: 'false', ...env },
    cwd
  )
  await dev.printed(/Ctrl-C stops everything/)
  return { ...dev, url: `http://localhost:${port}` }
}

async function connect (t: Test, url: string, mode: 'legacy' | 'auto') {
  const told = { changes: 0 }
  let wake = (): void => {}
  const client = new Client({ name: 'reload-test', version: '1' }, {
    versionNegotiation: { mode },
    listChanged: {
      tools: {
        autoRefresh: false,
        onChanged () {
          told.changes++
          wake()
        }
      }
    }
  })
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`))
  await client.connect(transport)
  t.teardown(async () => { await client.close() })
  return {
    transport,
    names: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name: string) =>
      ((await client.callTool({ name, arguments: {} })).content[0] as { text: string }).text,
    async changed (times: number) {
      while (told.changes < times) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  }
}

/** Saves a file at once, as editors do: one that is half written would be loaded, and then once more. */
async function save (file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

/** Resolves with the log line that has this message for the nth time. */
async function line (dev: TestProcess, message: string, nth = 1): Promise<Record<string, unknown>> {
  for (;;) {
    const found = (await dev.output()).split('\n').filter((text) => text.includes(message) && text.endsWith('}'))[
      nth - 1
    ]
    if (found !== undefined) return JSON.parse(found) as Record<string, unknown>
    await once(dev.child, 'printed')
  }
}
const LOADED = 'Saved files were loaded'
const BROKEN = 'Saved files cannot be loaded'

t.test('a saved file of this repository is live in sessions that go on', async (t) => {
  // A copy, as other tests load the tools of this one.
  const folder = await emptyFolder(t)
  for (const path of ['dev', 'plugins', 'routes', 'src', 'package.json', 'tsconfig.json']) {
    await cp(join(ROOT, path), join(folder, path), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  await mkdir(join(folder, '.dev/src/tools'), { recursive: true })
  await writeFile(join(folder, '.dev/src/tools/removed-long-ago.js'), 'this is not JavaScript')
  // The types of one file, as those of the whole repository take longer than all the rest.
  await writeFile(
    join(folder, 'dev/tsconfig.json'),
    JSON.stringify({ compilerOptions: { noEmit: true, types: [] }, files: ['../src/async/single-flight.ts'] })
  )
  const saveTool = async (name: string, text: string) => { await save(join(folder, 'src/tools', name), text) }

  const dev = await startDev(t, join(folder, 'dev/start.js'), folder)
  const clients = [await connect(t, dev.url, 'legacy'), await connect(t, dev.url, 'auto')]
  const [session] = clients.map(({ transport }) => transport.sessionId)
  for (const client of clients) {
    t.same(await client.names(), ['seed_ping', 'whoami'], 'what has no source any more is not offered')
  }

  await saveTool('greet.ts', tool('greet', "'hello' satisfies string", '../index.ts'))
  for (const client of clients) {
    await client.changed(1)
    t.same(await client.names(), ['greet', 'seed_ping', 'whoami'])
    t.equal(await client.call('greet'), 'hello')
  }
  t.match(await line(dev, LOADED), { added: ['Tool "greet"'], changed: [], gone: [] })

  await saveTool('greet.ts', 'export const = 1\n')
  t.match(await line(dev, BROKEN), {
    level: 50,
    reason: `${folder}/src/tools/greet.ts:1 cannot be loaded: Expected identifier but found "="`
  })
  for (const client of clients) t.equal(await client.call('greet'), 'hello', 'what was offered before stays')

  await saveTool('greet.ts', 'export const nothing = 1\n')
  t.match(await line(dev, BROKEN, 2), { reason: new RegExp(`^${folder}/src/tools/greet\\.ts exports nothing`) })

  await saveTool('_words.ts', "export const word = (): string => 'hi'\n")
  await saveTool('greet.ts', `import { word } from './_words.ts'\n${tool('greet', 'word()', '../index.ts')}`)
  await line(dev, LOADED, 2)
  for (const client of clients) t.equal(await client.call('greet'), 'hi')
  await saveTool('_words.ts', "export const word = (): string => 'good morning'\n")
  t.match(await line(dev, LOADED, 3), {
    added: [],
    changed: ['Tool "greet"', 'Tool "seed_ping"', 'Tool "whoami"', 'Prompt "greet"'],
    gone: []
  })
  for (const client of clients) {
    t.equal(await client.call('greet'), 'good morning', 'files that others import are loaded again too')
  }

  await mkdir(join(folder, 'src/prompts'), { recursive: true })
  await save(
    join(folder, 'src/prompts/poem.ts'),
    "import { definePrompt } from '../index.ts'\nexport const poem = definePrompt({ name: 'poem', handler: () => 'Write a poem' })\n"
  )
  t.match(await line(dev, LOADED, 4), { added: ['Prompt "poem"'] }, 'also in a folder that there was not')

  await rm(join(folder, 'src/tools/greet.ts'))
  for (const client of clients) {
    await client.changed(2)
    t.same(await client.names(), ['seed_ping', 'whoami'])
  }
  t.match(await line(dev, LOADED, 5), { gone: ['Tool "greet"'] })
  t.equal(clients[0]!.transport.sessionId, session, 'the session is the same')
  await dev.printed(/^Types: no errors$/m)
  dev.child.kill('SIGINT')
  t.same(await dev.ended, { code: 0, signal: null })
})

t.test('so is one of a folder outside', async (t) => {
  const folder = await emptyFolder(t)
  const file = join(folder, 'more/tools/count.js')
  await mkdir(join(folder, 'more/tools'), { recursive: true })
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(file, tool('count', "'one'", 'seed-mcp-server'))
  await writeFile(join(folder, 'single.js'), tool('single', "'alone'", 'seed-mcp-server'))
  const url = `http://127.0.0.1:${await freePort()}/mcp`
  await writeFile(join(folder, 'more/mount.js'), `import { defineMount } from 'seed-mcp-server'
export const away = defineMount({ name: 'away', url: '${url}' })
`)

  const dev = await startDev(t, DEV, folder, { SEED_EXTENSIONS: './more,./single.js' })
  const client = await connect(t, dev.url, 'legacy')
  t.same(await client.names(), ['count', 'seed_ping', 'single', 'whoami'])
  t.match(await line(dev, 'mount.unavailable'), { mount: 'away' }, 'its mounts are connected to')

  await save(file, tool('count', "'two'", 'seed-mcp-server', 'counts'))
  await client.changed(1)
  t.equal(await client.call('count'), 'two')
  t.match(await line(dev, LOADED), { added: [], changed: ['Tool "count"'], gone: [] })

  await symlink('./nothing.js', join(folder, 'more/link.js'))
  t.match(await line(dev, BROKEN), { reason: /^\S*\/more\/link\.js cannot be loaded: Cannot find module/ })
  await rm(join(folder, 'more/link.js'))
  t.match(await line(dev, LOADED, 2), { added: [], changed: [], gone: [] })
  await save(file, tool('count', "'three'", 'seed-mcp-server', 'counts'))
  await line(dev, LOADED, 3)
  t.equal(await client.call('count'), 'three')
  dev.child.kill('SIGINT')
  t.same(await dev.ended, { code: 0, signal: null })
})

t.test('a mistake in a saved tool is named as in the server, and ends nothing', async (t) => {
  const folder = await emptyFolder(t)
  const file = join(folder, 'reckless.js')
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(file, tool('reckless', "'fine'", 'seed-mcp-server'))
  const dev = await startDev(t, DEV, folder, { SEED_EXTENSIONS: './reckless.js' })
  const client = await connect(t, dev.url, 'legacy')

  await save(file, tool('reckless.exit', 'process.exit(3)', 'seed-mcp-server'))
  await client.changed(1)
  t.match(await line(dev, 'some clients refuse names'), { level: 40, msg: /^Tool "reckless\.exit"/, file })
  t.match(await client.call('reckless.exit'), /^reckless\.exit failed/)
  t.match(await line(dev, 'A handler failed'), { handler: 'reckless.exit', err: { message: /process\.exit\(\) was called/ } })

  const floats = "((async () => { throw new Error('floated') })(), 'done')"
  await save(file, tool('reckless.exit', floats, 'seed-mcp-server'))
  await line(dev, LOADED, 2)
  t.equal(await client.call('reckless.exit'), 'done')
  t.match(await line(dev, 'A promise was rejected'), { err: { message: 'floated' }, definitions: ['Tool "reckless.exit"'] })
  t.equal((await dev.output()).split('some clients refuse names').length, 2, 'what is known is not repeated')
  dev.child.kill('SIGINT')
  t.same(await dev.ended, { code: 0, signal: null })
})

t.test('a broken extension stops the start', async (t) => {
  const folder = await emptyFolder(t)
  const dev = startProcess(
    t,
    [DEV],
    { PORT: String(await freePort()), DEV_PROVIDER_PORT: String(await freePort()), SEED_EXTENSIONS: './nowhere' },
    folder
  )
  t.same(await dev.ended, { code: 1, signal: null })
  t.match(await dev.output(), /SEED_EXTENSIONS: \S*\/nowhere does not exist/)
})

t.test('a definition that cannot be served stops the start, and its file is named', async (t) => {
  const folder = await emptyFolder(t)
  await writeFile(join(folder, 'again.js'), tool('not a name', "'again'", 'seed-mcp-server'))
  const dev = startProcess(
    t,
    [DEV],
    { PORT: String(await freePort()), DEV_PROVIDER_PORT: String(await freePort()), SEED_EXTENSIONS: './again.js' },
    folder
  )
  t.same(await dev.ended, { code: 1, signal: null })
  t.match(await dev.output(), /again\.js.*not a name/)
})
