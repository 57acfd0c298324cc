import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/**
 * An MCP server of a 2025 revision on stdio, to mount: as small as possible, so that it starts fast. Arguments change
 * how it behaves: `strict` ends at a request before initialize, `stubborn` ends neither at the end of its input nor at
 * SIGTERM, `broken` ends with its first tool call, and `modern` speaks 2026-07-28. The calls of `allocate` and
 * `allocate-in-child` use 300 MB, and are never answered; nor is that of `wait`, which has sent progress.
 */
const [, , ...modes] = process.argv
const ALLOCATED_BYTES = 300_000_000
const kept: Buffer[] = []
let count = 0
let isInitialized = false

const names = [
  'count', 'environment', 'exit', 'child', 'large', 'large-last', 'large-unknown', 'endless', 'hang', 'noise', 'chatter',
  'allocate', 'allocate-in-child', 'wait'
]

/** What results of 2026-07-28 have besides. */
const COMPLETE = modes.includes('modern') ? { resultType: 'complete', ttlMs: 0, cacheScope: 'private' } : {}

function send (message: object): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
}

interface CallParams {
  name: string
  arguments: Record<string, unknown>
  _meta?: { progressToken?: unknown }
}

function call (id: number, { name, arguments: args, _meta }: CallParams): string | undefined {
  switch (name) {
    case 'count': return `${process.pid} ${++count}`
    case 'environment': return JSON.stringify({ ...process.env, cwd: process.cwd(), argv: modes })
    case 'exit': return process.exit(3)
    case 'child': return String(spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'inherit' }).pid)
    case 'large': return 'x'.repeat(Number(args['bytes']))
    case 'large-last': {
      process.stdout.write(`{"result":{"content":[{"type":"text","text":"${'x'.repeat(Number(args['bytes']))}"}]},"jsonrpc":"2.0","id":${id}}\n`)
      return undefined
    }
    case 'large-unknown': {
      process.stdout.write(`{"result":"${'x'.repeat(Number(args['bytes']))}"}\n`)
      return undefined
    }
    case 'endless': {
      const flood = (): void => { process.stdout.write('x'.repeat(1_000_000), flood) }
      flood()
      return undefined
    }
    case 'noise': {
      process.stdout.write('starting up\n\n{"jsonrpc":"2.0"}\n')
      process.stderr.write(`\u001b[31mred\n${'y'.repeat(5_000)}\n`)
      for (let line = 0; line < 500; line++) process.stderr.write(`line ${line}\n`)
      return 'done'
    }
    case 'allocate': {
      kept.push(Buffer.alloc(ALLOCATED_BYTES, 1))
      return undefined
    }
    case 'allocate-in-child': {
      const script = `globalThis.kept = Buffer.alloc(${ALLOCATED_BYTES}, 1); setInterval(() => {}, 1e6)`
      spawn(process.execPath, ['-e', script], { stdio: 'inherit' })
      return undefined
    }
    case 'wait': {
      send({ method: 'notifications/progress', params: { progressToken: _meta?.progressToken, progress: 1 } })
      return undefined
    }
    case 'chatter': {
      for (let line = 0; line < 7_000; line++) send({ method: 'notifications/message', params: { level: 'info', data: line } })
      return 'done'
    }
    default: return undefined
  }
}

if (modes.includes('stubborn')) {
  process.on('SIGTERM', () => {})
  setInterval(() => {}, 1e6)
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params = {} } = JSON.parse(line)
  if (id === undefined) return
  if (modes.includes('strict') && !isInitialized && method !== 'initialize') process.exit(1)
  if (method === 'server/discover' && modes.includes('modern')) {
    send({ id, result: { ...COMPLETE, supportedVersions: ['2026-07-28'], capabilities: { tools: {} } } })
  } else if (method === 'initialize') {
    isInitialized = true
    const { protocolVersion } = params
    send({ id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'stdio', version: '1' } } })
  } else if (method === 'tools/list') {
    send({ id, result: { ...COMPLETE, tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })) } })
  } else if (method === 'ping') {
    send({ id, result: {} })
  } else if (method === 'tools/call') {
    if (modes.includes('broken')) process.exit(4)
    const text = call(id, params)
    if (text !== undefined) send({ id, result: { ...COMPLETE, content: [{ type: 'text', text }] } })
    if (params.name === 'hang') for (;;);
  } else {
    send({ id, error: { code: -32601, message: 'Method not found' } })
  }
})
