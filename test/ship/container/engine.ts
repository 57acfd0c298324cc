import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { ChildProcess } from 'node:child_process'
import { run, succeed } from './run.ts'
import type { Finished, RunOptions } from './run.ts'

/**
 * A Docker engine of the test's own, in a temporary folder. It runs in namespaces of its own: whatever it starts ends
 * with it, even when the test is killed, and the machine's network stays as it is.
 */
export interface Engine {
  /**
   * Starts the engine: on the machine's network, without containers' networks, to build; or on a network of its own, to
   * run containers as they are run elsewhere. Stops the engine that runs before.
   */
  start (network: 'machine' | 'own'): Promise<void>
  /** Runs the Docker client. */
  docker (args: readonly string[], options?: RunOptions): Promise<Finished>
  /** The same, for what must succeed. */
  dockerOutput (args: readonly string[], options?: RunOptions): Promise<string>
  /** Runs a command in the engine's network, where the ports that containers publish are. */
  inNetwork (command: string, args: readonly string[], options?: RunOptions): Promise<Finished>
  /** The environment for other clients of the engine, such as Compose. */
  environment: Record<string, string>
  folder: string
  stop (): Promise<void>
}

const START_SECONDS = 30
const STOP_SECONDS = 30
/** Commands and the Debian packages that have them. */
const NEEDED = {
  dockerd: 'docker.io',
  docker: 'docker.io',
  runc: 'runc',
  'docker-init': 'tini',
  iptables: 'iptables',
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  busybox: 'busybox-static'
}
const FOLDERS = [...process.env['PATH']!.split(delimiter), '/usr/sbin', '/sbin']

/** Says in one sentence why no engine can run here; undefined if one can. */
export function whyNoEngine (): string | undefined {
  if (process.platform !== 'linux') return 'a Docker engine of its own needs Linux'
  if (process.getuid!() !== 0) return 'a Docker engine of its own needs root'
  const missing = Object.entries(NEEDED).filter(([command]) => locate(command) === undefined).map(([, name]) => name)
  if (missing.length > 0) return `a Docker engine of its own needs: apt-get install ${[...new Set(missing)].join(' ')}`
  return undefined
}

/** Returns the path of a command; Debian keeps some where only root's PATH leads. */
export function locate (command: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, command)).find((path) => existsSync(path))
}

/**
 * Returns a Docker client that can start BuildKit: one that has buildx, or one before 23, which does without. A machine
 * may have several.
 */
export async function locateDockerClient (): Promise<{ path: string, hasBuildKit: boolean }> {
  const paths = [...new Set(FOLDERS)].map((folder) => join(folder, 'docker')).filter((path) => existsSync(path))
  for (const path of paths) {
    const version = (await run(path, ['--version'])).stdout.match(/version (\d+)/)?.[1]
    const hasBuildKit = Number(version) < 23 || (await run(path, ['buildx', 'version'])).code === 0
    if (hasBuildKit) return { path, hasBuildKit }
  }
  return { path: paths[0]!, hasBuildKit: false }
}

export async function createEngine (): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-engine-'))
  const { path: client } = await locateDockerClient()
  const environment = {
    DOCKER_HOST: `unix://${folder}/docker.sock`,
    DOCKER_CONFIG: join(folder, 'config'),
    PATH: FOLDERS.join(delimiter)
  }
  let daemon: ChildProcess | undefined
  let log = ''

  const docker = async (args: readonly string[], options: RunOptions = {}): Promise<Finished> =>
    await run(client, args, { ...options, env: { ...environment, ...options.env } })

  /** The process id of dockerd itself, as this process sees it. */
  async function daemonId (): Promise<string> {
    let id = String(daemon!.pid)
    // unshare, docker-init, dockerd.
    for (;;) {
      const children = (await readFile(`/proc/${id}/task/${id}/children`, 'utf8')).trim().split(' ')
      if (children[0] === '' || (await readFile(`/proc/${id}/comm`, 'utf8')).trim() === 'dockerd') return id
      id = children[0]!
    }
  }

  async function stopDaemon (): Promise<void> {
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return
    const ended = once(daemon, 'exit')
    const id = await daemonId().catch(() => undefined)
    if (id !== undefined) process.kill(Number(id), 'SIGTERM')
    const late = setTimeout(() => { daemon!.kill('SIGKILL') }, STOP_SECONDS * 1_000)
    await ended
    clearTimeout(late)
  }

  return {
    folder,
    environment,
    docker,
    dockerOutput: async (args, options = {}) =>
      await succeed(client, args, { ...options, env: { ...environment, ...options.env } }),

    async start (network) {
      await stopDaemon()
      log = ''
      // A process of the next namespace may have the number of one that was killed.
      await rm(join(folder, 'docker.pid'), { force: true })
      const isOwn = network === 'own'
      const withoutNetworks = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false',
        '--ip-masq=false']
      const dockerd = ['dockerd', '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'),
        '--pidfile', join(folder, 'docker.pid'), '--host', environment.DOCKER_HOST,
        ...isOwn ? [] : withoutNetworks]
      // Everything dies with the first process of the namespace, and that one with this process.
      daemon = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child',
        '--mount-proc', ...isOwn ? ['--net'] : [], 'docker-init', '--', 'sh', '-c',
        isOwn ? 'ip link set lo up && exec "$@"' : 'exec "$@"', 'sh', ...dockerd
      ], { env: { PATH: environment.PATH }, stdio: ['ignore', 'pipe', 'pipe'] })
      for (const stream of [daemon.stdout!, daemon.stderr!]) {
        stream.setEncoding('utf8').on('data', (chunk: string) => { log += chunk })
      }
      const deadline = Date.now() + START_SECONDS * 1_000
      while ((await docker(['version'])).code !== 0) {
        if (Date.now() > deadline || daemon.exitCode !== null) {
          await stopDaemon()
          throw new Error(`dockerd does not start:\n${log.slice(-4_000)}`)
        }
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    },

    async inNetwork (command, args, options = {}) {
      return await run('nsenter', [`--net=/proc/${await daemonId()}/ns/net`, command, ...args], options)
    },

    async stop () {
      await stopDaemon()
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}
