import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, lstatSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../test/support/free-port.ts'
import type { Context, PartResult, Verdict } from '../context.ts'
import { MOUNTS, mountSettings, startMounted } from '../mounting.ts'
import { spread } from '../rounds.ts'
import { SEED_FLAGS, SHIPPED_SCRIPT, TOOLS, seedServer } from '../targets.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const MAX_SECONDS = 0.4
const MAX_MOUNTING_SECONDS = 1
const MAX_PACKAGES = 74
const MAX_MEGABYTES = 32

/** From the start of the process until it takes a connection, and what the production install brings. */
export async function measureStart (context: Context): Promise<PartResult> {
  const starts: number[] = []
  const count = context.quick ? 3 : 9
  // One that does not count: what it reads is in the page cache then.
  await start(context)
  for (let number = 0; number < count; number++) starts.push(await start(context))
  const { median, min, max } = spread(starts.map((ms) => ms / 1_000))
  const mounting = spread((await startMounting(context, count)).map((ms) => ms / 1_000))
  context.progress(`listening after ${median.toFixed(3)} s`)
  const install = installed()
  context.progress(`${install.packages} packages`)
  const verdicts: Verdict[] = [
    {
      item: '7',
      wanted: `from start to listening: at most ${MAX_SECONDS} s`,
      measured: `${median.toFixed(3)} s (${min.toFixed(3)} to ${max.toFixed(3)}, ${count} starts)`,
      reached: median <= MAX_SECONDS
    },
    {
      item: '9',
      wanted: `from start to listening with ${MOUNTS} mounts of ${TOOLS} tools: at most ${MAX_MOUNTING_SECONDS} s more`,
      measured: `${(mounting.median - median).toFixed(3)} s more (${count} starts)`,
      reached: mounting.median - median <= MAX_MOUNTING_SECONDS
    },
    {
      item: '7',
      wanted: `production install: at most ${MAX_PACKAGES} packages, ${MAX_MEGABYTES} MB`,
      measured:
        `${install.packages} packages, ${megabytes(install.unpacked)} MB in ` +
        `${install.files.toLocaleString('en')} files; ${megabytes(install.downloaded)} MB downloaded`,
      reached: install.packages <= MAX_PACKAGES && install.unpacked <= MAX_MEGABYTES * 1e6
    }
  ]
  return {
    title: 'Start and install',
    verdicts,
    lines: [
      `- Seed as shipped with its own tools, on one core: listens after ${median.toFixed(3)} s, ` +
        `the median of ${count} starts. With ${MOUNTS} mounts of ${TOOLS} tools each: ` +
        `${mounting.median.toFixed(3)} s. They are one server, on the other core.`,
      `- \`npm ci --omit=dev\` into an empty folder with an empty cache: ${install.packages} packages, ` +
        `${megabytes(install.downloaded)} MB downloaded, ${megabytes(install.unpacked)} MB unpacked in ` +
        `${install.files.toLocaleString('en')} files.`
    ]
  }
}

/** Starts of a Seed that mounts a server many times, and waits for all of them. */
async function startMounting (context: Context, count: number): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'seed-bench-start-'))
  const mounted = await startMounted(context)
  try {
    const settings = mountSettings(folder, mounted, MOUNTS)
    const starts: number[] = []
    for (let number = 0; number < count; number++) starts.push(await start(context, settings))
    return starts
  } finally {
    await mounted.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns milliseconds */
async function start ({ pinning, provider }: Context, settings: Record<string, string> = {}): Promise<number> {
  const port = await freePort()
  const since = performance.now()
  const child = spawn('taskset', ['-c', String(pinning.server), process.execPath, ...SEED_FLAGS, SHIPPED_SCRIPT], {
    cwd: tmpdir(),
    env: {
      PATH: process.env['PATH']!,
      NODE_ENV: 'production',
      ...seedServer('seed', provider, settings).env,
      HOST: '127.0.0.1',
      PORT: String(port),
      BASE_URL: `http://127.0.0.1:${port}`
    },
    stdio: 'ignore'
  })
  const ended = once(child, 'exit')
  try {
    while (!await takesConnection(port)) {
      if (child.exitCode !== null) throw new Error('Seed does not start')
      await new Promise((resolve) => { setTimeout(resolve, 2) })
    }
    return performance.now() - since
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

async function takesConnection (port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => { resolve(false) }).once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

/** The size of what `npm ci --omit=dev` brings, in bytes. */
function installed (): { packages: number, unpacked: number, files: number, downloaded: number } {
  const folder = mkdtempSync(join(tmpdir(), 'seed-bench-install-'))
  try {
    for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
      copyFileSync(join(ROOT, file), join(folder, file))
    }
    const cache = join(folder, 'cache')
    execFileSync('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--cache', cache], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 2]
    })
    const { packages } = JSON.parse(readFileSync(join(folder, 'node_modules/.package-lock.json'), 'utf8')) as {
      packages: Record<string, unknown>
    }
    const { bytes, files } = sizeOf(join(folder, 'node_modules'))
    return {
      packages: Object.keys(packages).length,
      unpacked: bytes,
      files,
      downloaded: sizeOf(join(cache, '_cacache/content-v2')).bytes
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function sizeOf (folder: string): { bytes: number, files: number } {
  const total = { bytes: 0, files: 0 }
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    total.bytes += lstatSync(join(entry.parentPath, entry.name)).size
    total.files++
  }
  return total
}

function megabytes (bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
