import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { findGo } from '../providers/go-client.ts'
import { installPython } from '../providers/python-environment.ts'
import { runInstaller } from '../providers/run-installer.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { bridgeByMcpProxy, bridgeBySupergateway, installMcpProxy, installSupergateway } from './bridges.ts'
import { startModernServer } from './modern-server.ts'
import type { Plan, RealServer, StdioEntry } from './server.ts'
import { startHttp } from './start-http.ts'

const HERE = join(ROOT, 'test/servers')
const PROVIDERS = join(ROOT, 'test/providers')
const cache = process.env['SEED_PROVIDERS_CACHE'] ?? join(homedir(), '.cache/seed-providers')
/** The environment of the Python clients, which has the servers' packages as well. */
export const PYTHON = join(cache, 'python')
const GO = join(cache, 'go-servers')
const SUPERGATEWAY = join(cache, 'supergateway')
const MCP_PROXY = join(cache, 'mcp-proxy')

function npmScript (name: string): string {
  return createRequire(join(HERE, 'package.json')).resolve(`@modelcontextprotocol/${name}/dist/index.js`)
}

function onNode (...args: string[]): StdioEntry {
  return { command: process.execPath, args, env: {} }
}

const EVERYTHING: RealServer = {
  name: 'everything',
  start: async (t) =>
    await startHttp(t, process.execPath, () => [npmScript('server-everything'), 'streamableHttp'], (PORT) => ({ PORT })),
  plan: {
    tools: {
      echo: [{ message: 'hi' }, {}],
      'get-annotated-message': [{ messageType: 'error', includeImage: true }],
      'get-env': [{}],
      'get-resource-links': [{ count: 2 }],
      'get-resource-reference': [{ resourceType: 'Text', resourceId: 2 }],
      'get-structured-content': [{ location: 'Chicago' }],
      'get-sum': [{ a: 1, b: 2 }],
      'get-tiny-image': [{}],
      'trigger-long-running-operation': [{ duration: 0.2, steps: 2 }]
    },
    uncalled: {
      'toggle-simulated-logging': 'its answer depends on the calls before',
      'toggle-subscriber-updates': 'its answer depends on the calls before',
      'gzip-file-as-resource': 'it leaves a resource in the session, which all callers see'
    },
    refused: { tools: ['simulate-research-query'] },
    prompts: {
      'simple-prompt': {},
      'args-prompt': { city: 'Oslo' },
      'completable-prompt': { department: 'Sales', name: 'David' },
      'resource-prompt': { resourceType: 'Text', resourceId: '1' }
    },
    completions: [
      { ref: { type: 'ref/prompt', name: 'completable-prompt' }, argument: { name: 'department', value: 'S' } },
      {
        ref: { type: 'ref/resource', uri: 'demo://resource/dynamic/text/{resourceId}' },
        argument: { name: 'resourceId', value: '1' }
      }
    ]
  }
}

const { 'get-env': _, ...toolsOnStdio } = EVERYTHING.plan.tools

const EVERYTHING_ON_STDIO: RealServer = {
  ...EVERYTHING,
  plan: {
    ...EVERYTHING.plan,
    tools: toolsOnStdio,
    uncalled: { ...EVERYTHING.plan.uncalled, 'get-env': 'its answer depends on who has started it' }
  }
}

const PYTHON_PLAN: Plan = {
  tools: {
    add: [{ a: 1, b: 2 }, { a: 1 }, { a: 'one' }],
    weather: [{ city: 'Oslo' }, { city: 'O' }],
    picture: [{}],
    fail: [{ reason: 'out of paper' }],
    slow: [{ steps: 3 }]
  },
  prompts: { review: { code: 'x = 1' } },
  uris: ['people://ada/profile']
}

/** Installs what servers in Python need. @throws RegistryUnreachable */
export async function installPythonServers (): Promise<void> {
  await installPython(PYTHON, join(PROVIDERS, 'python'))
}

function pythonServer (name: string, kind: string): RealServer {
  return {
    name,
    install: installPythonServers,
    start: async (t) =>
      await startHttp(t, join(PYTHON, 'bin/python'), (port) => [join(HERE, 'python/server.py'), kind, port]),
    plan: PYTHON_PLAN
  }
}

async function installGo (): Promise<void> {
  const source = join(PROVIDERS, 'go')
  const sum = await readFile(join(source, 'go.sum'), 'utf8')
  if (await readFile(join(GO, 'installed.txt'), 'utf8').catch(() => '') === sum) return
  await mkdir(GO, { recursive: true })
  const example = 'github.com/modelcontextprotocol/go-sdk/examples/server/everything'
  await runInstaller(await findGo(GO), ['build', '-mod=readonly', '-o', join(GO, 'everything'), example], { cwd: source })
  await writeFile(join(GO, 'installed.txt'), sum)
}

/** The names of its tools have spaces, which clients refuse: the operator gives them others. */
const GO_NAMES = {
  'greet (structured)': 'greet_structured',
  'greet (with Icons)': 'greet_icons',
  'greet (content with ResourceLink)': 'greet_link',
  'elicit (form)': 'elicit_form'
}

const GO_TOOLS = { overrides: Object.fromEntries(Object.entries(GO_NAMES).map(([own, name]) => [own, { name }])) }

const GO_EVERYTHING: RealServer = {
  name: 'go',
  install: installGo,
  start: async (t) => ({
    ...await startHttp(t, join(GO, 'everything'), (port) => ['-http', `127.0.0.1:${port}`]), tools: GO_TOOLS
  }),
  plan: {
    tools: {
      greet: [{ name: 'Ada' }, {}],
      'greet (structured)': [{ name: 'Ada' }],
      'greet (with Icons)': [{ name: 'Ada' }],
      'greet (content with ResourceLink)': [{ name: 'Ada' }],
      log: [{}]
    },
    uncalled: {
      ping: 'the server pings its client',
      sample: 'it asks the client, which has no model',
      roots: 'it asks the client, which has none',
      'elicit (form)': 'it asks the client, which has no form'
    },
    refused: { tools: ['elicit (url)'], prompts: ['greet (with Icons)'] },
    renamed: GO_NAMES,
    prompts: { greet: { name: 'Ada' } },
    completions: [{
      ref: { type: 'ref/resource', uri: 'http://example.com/~{resource_name}/' },
      argument: { name: 'resource_name', value: 'A' }
    }]
  }
}

const MODERN: RealServer = {
  name: 'modern',
  start: async (t) => ({ url: await startModernServer(t) }),
  plan: {
    tools: { add: [{ a: 1, b: 2 }, { a: 'one' }], link: [{}], fail: [{ reason: 'out of paper' }], slow: [{ steps: 2 }] },
    prompts: { review: { code: 'x = 1' } },
    uris: ['notes://ada/1'],
    completions: [
      { ref: { type: 'ref/resource', uri: 'notes://{person}/{id}' }, argument: { name: 'person', value: 'a' } }
    ]
  }
}

/** A folder that the file server may use; the plan names its files. */
const FILES = join(tmpdir(), `seed-files-${process.pid}`)

async function startFileServer (t: Test): Promise<StdioEntry> {
  await mkdir(FILES, { recursive: true })
  t.teardown(async () => { await rm(FILES, { recursive: true, force: true }) })
  await writeFile(join(FILES, 'a.txt'), 'one\ntwo\n')
  return onNode(npmScript('server-filesystem'), FILES)
}

const FILE_SERVER: RealServer = {
  name: 'files',
  start: async (t) => await startFileServer(t),
  plan: {
    tools: {
      read_file: [{ path: join(FILES, 'a.txt') }],
      read_text_file: [{ path: join(FILES, 'a.txt'), head: 1 }, { path: '/etc/passwd' }],
      read_media_file: [{ path: join(FILES, 'a.txt') }],
      read_multiple_files: [{ paths: [join(FILES, 'a.txt'), join(FILES, 'none.txt')] }],
      write_file: [{ path: join(FILES, 'b.txt'), content: 'three' }],
      edit_file: [{ path: join(FILES, 'a.txt'), edits: [{ oldText: 'one', newText: 'ONE' }], dryRun: true }],
      create_directory: [{ path: join(FILES, 'folder') }],
      list_directory: [{ path: FILES }],
      list_directory_with_sizes: [{ path: FILES }],
      directory_tree: [{ path: FILES }],
      search_files: [{ path: FILES, pattern: '*.txt' }],
      list_allowed_directories: [{}]
    },
    uncalled: {
      move_file: 'it works once',
      get_file_info: 'its answer has the time of the last access'
    }
  }
}

const ADA = { name: 'Ada', entityType: 'person', observations: ['counts'] }

async function startMemory (t: Test): Promise<StdioEntry> {
  return { ...onNode(npmScript('server-memory')), env: { MEMORY_FILE_PATH: join(await emptyFolder(t), 'memory.json') } }
}

const MEMORY: RealServer = {
  name: 'memory',
  start: async (t) => await startMemory(t),
  // In this order, which leaves nothing behind.
  plan: {
    tools: {
      create_entities: [{ entities: [ADA, { ...ADA, name: 'Bob' }] }],
      create_relations: [{ relations: [{ from: 'Ada', to: 'Bob', relationType: 'knows' }] }],
      add_observations: [{ observations: [{ entityName: 'Ada', contents: ['writes'] }] }],
      read_graph: [{}],
      search_nodes: [{ query: 'writes' }],
      open_nodes: [{ names: ['Bob'] }],
      delete_observations: [{ deletions: [{ entityName: 'Ada', observations: ['writes'] }] }],
      delete_relations: [{ relations: [{ from: 'Ada', to: 'Bob', relationType: 'knows' }] }],
      delete_entities: [{ entityNames: ['Ada', 'Bob'] }]
    }
  }
}

/** Returns the same server on stdio. */
function onStdio (server: RealServer, entry: () => StdioEntry): RealServer {
  return { ...server, name: `${server.name}-stdio`, start: async () => entry() }
}

const PYTHON_SDK = pythonServer('python', 'sdk')
const FASTMCP = pythonServer('fastmcp', 'fastmcp')
const onPython = (kind: string): StdioEntry =>
  ({ command: join(PYTHON, 'bin/python'), args: [join(HERE, 'python/server.py'), kind], env: {} })

const FILES_BY_HTTP: RealServer = {
  ...FILE_SERVER,
  name: 'files-http',
  install: async () => { await installSupergateway(SUPERGATEWAY) },
  start: async (t) => await bridgeBySupergateway(t, SUPERGATEWAY, await startFileServer(t))
}

const MEMORY_BY_HTTP: RealServer = {
  ...MEMORY,
  name: 'memory-http',
  install: async () => { await installMcpProxy(MCP_PROXY) },
  start: async (t) => await bridgeByMcpProxy(t, MCP_PROXY, await startMemory(t))
}

export const SERVERS: RealServer[] = [
  EVERYTHING,
  PYTHON_SDK,
  FASTMCP,
  GO_EVERYTHING,
  MODERN,
  FILE_SERVER,
  MEMORY,
  onStdio(EVERYTHING_ON_STDIO, () => onNode(npmScript('server-everything'), 'stdio')),
  onStdio(PYTHON_SDK, () => onPython('sdk')),
  onStdio(FASTMCP, () => onPython('fastmcp')),
  onStdio(GO_EVERYTHING, () => ({ command: join(GO, 'everything'), args: [], env: {}, tools: GO_TOOLS })),
  onStdio(MODERN, () => onNode(join(ROOT, '.test-build/test/servers/modern-stdio.js'))),
  FILES_BY_HTTP,
  MEMORY_BY_HTTP
]
