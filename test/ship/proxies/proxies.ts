import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../../support/free-port.ts'
import { createHttpsClient } from '../../support/https-client.ts'
import type { HttpsClient } from '../../support/https-client.ts'
import { SERVER_NAME, findProgram, nginxForTests } from '../../support/nginx.ts'
import { startCommand } from '../../support/process.ts'
import { ROOT } from '../../support/root.ts'
import { selfSigned } from '../../support/tls.ts'
import { until } from '../../support/until.ts'

/** A reverse proxy with the configuration that ships, in front of two replicas. */
export interface RunningProxy extends HttpsClient {
  port: number
  ca: string
  /** Everything that it printed and logged. */
  logs (): string
}

/** The addresses and folders that a proxy of the tests uses. */
interface Places {
  folder: string
  port: number
  replicas: readonly [number, number]
  cert: string
  key: string
}

export interface ProxyKind {
  name: string
  /** SHUTDOWN_DELAY_SECONDS of its replicas, if it needs one. */
  shutdownDelaySeconds?: number
  /**
   * Starts it; undefined if this machine does not have it, which fails in CI if Debian has it.
   *
   * @param routes with these changes to the routes of the shipped file
   */
  start (
    t: Test, replicas: readonly [number, number], routes?: Record<string, string>
  ): Promise<RunningProxy | undefined>
}

export const PROXIES: ProxyKind[] = [
  {
    name: 'nginx',
    async start (t, replicas) {
      const nginx = await nginxForTests(t, replicas)
      return nginx && { ...nginx, logs: () => JSON.stringify(nginx.accessLog()) + nginx.output() + nginx.errorLog() }
    }
  },
  {
    name: 'Caddy',
    shutdownDelaySeconds: 3,
    start: async (t, replicas, routes = {}) => await startProxy(t, replicas, 'caddy', ({ folder, port, cert, key }, ship) => {
      const file = ship('caddy/Caddyfile', {
        'seed.example.com {': `https://${SERVER_NAME}:${port} {\n\tbind 127.0.0.1`,
        '# tls /etc/ssl/seed/fullchain.pem /etc/ssl/seed/privkey.pem': `tls ${cert} ${key}`,
        'auto_https disable_redirects': 'auto_https disable_redirects\n\tadmin off',
        '/var/log/caddy': folder,
        ...routes
      })
      return { args: ['run', '--config', file, '--adapter', 'caddyfile'], env: { HOME: folder, XDG_DATA_HOME: folder } }
    })
  },
  {
    name: 'HAProxy',
    start: async (t, replicas, routes = {}) => await startProxy(t, replicas, 'haproxy', ({ folder, port, cert, key }, ship) => {
      const pem = join(folder, 'seed.pem')
      writeFileSync(pem, readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'))
      const file = ship('haproxy/haproxy.cfg', {
        'bind :443': `bind 127.0.0.1:${port}`,
        '/etc/haproxy/seed.pem': pem,
        'log /dev/log local0': 'log stdout format raw local0',
        ...routes
      })
      return { args: ['-db', '-f', file] }
    })
  },
  {
    name: 'Apache',
    start: async (t, replicas, routes = {}) => await startProxy(t, replicas, 'apache2', ({ folder, port, cert, key }, ship) => {
      const seed = ship('apache/seed.conf', {
        'Listen 443': `Listen 127.0.0.1:${port}`,
        '*:443': `*:${port}`,
        '/etc/ssl/seed/fullchain.pem': cert,
        '/etc/ssl/seed/privkey.pem': key,
        '/var/log/apache2': folder,
        ...routes
      })
      const main = join(folder, 'apache2.conf')
      writeFileSync(main, apacheMain(folder, seed))
      return { args: ['-DFOREGROUND', '-f', main] }
    })
  },
  {
    name: 'Traefik',
    shutdownDelaySeconds: 3,
    // Debian has no Traefik, and the Go module proxy not all of its modules.
    start: async (t, replicas, routes = {}) => await startProxy(t, replicas, 'traefik', ({ folder, port, cert, key }, ship) => {
      const seed = ship('traefik/seed.yml', {
        '/etc/ssl/seed/fullchain.pem': cert,
        '/etc/ssl/seed/privkey.pem': key,
        ...routes
      })
      const file = ship('traefik/traefik.yml', {
        '":443"': `"127.0.0.1:${port}"`,
        '/etc/traefik/seed.yml': seed
      })
      return { args: [`--configFile=${file}`], env: { HOME: folder } }
    }, 'optional')
  }
]

type Prepare = (
  places: Places,
  /** Writes a file of deploy/ with these changes, and those of the replicas' addresses. */
  ship: (path: string, changes: Record<string, string>) => string
) => { args: string[], env?: Record<string, string> }

async function startProxy (
  t: Test, replicas: readonly [number, number], program: string, prepare: Prepare, need: 'needed' | 'optional' = 'needed'
): Promise<RunningProxy | undefined> {
  const binary = findProgram(program)
  if (binary === undefined) {
    const hint = `no ${program} on PATH, so deploy/${program} was not run`
    if (need === 'optional') t.comment(hint)
    else if (process.env['CI']) t.fail(`${hint}: apt-get install ${program}`)
    else t.plan(0, `${hint}: apt-get install ${program}`)
    return undefined
  }
  const { cert: ca, key } = selfSigned(t, [SERVER_NAME])
  const folder = join(t.testdirName, program)
  mkdirSync(folder)
  const places: Places = {
    folder, port: await freePort(), replicas, cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem')
  }
  writeFileSync(places.cert, ca)
  writeFileSync(places.key, key)
  const { args, env = {} } = prepare(places, (path, changes) => ship(folder, path, replicas, changes))
  const running = startCommand(t, binary, args, env, folder)
  const client = createHttpsClient({ port: places.port, ca, serverName: SERVER_NAME })
  await Promise.race([
    until(async () => await client.send('/health').then(() => true, () => false), `${program} answers`),
    running.ended.then(async () => { throw new Error(`${program} ended: ${await running.output()}`) })
  ])
  let output = ''
  for (const stream of [running.child.stdout!, running.child.stderr!]) stream.on('data', (chunk) => { output += chunk })
  t.teardown(async () => {
    running.child.kill('SIGTERM')
    await running.ended
  })
  const printed = await running.output()
  return {
    port: places.port,
    ca,
    logs: () => printed + output + ['seed.log', 'seed-error.log'].map((name) => join(folder, name))
      .filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8')).join(''),
    ...client
  }
}

/** Writes a file of deploy/ with changed addresses and paths; throws for one that is not in it. */
function ship (
  folder: string, path: string, replicas: readonly [number, number], changes: Record<string, string>
): string {
  let text = readFileSync(join(ROOT, 'deploy', path), 'utf8')
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`deploy/${path} has no ${from}`)
    text = text.replaceAll(from, to)
  }
  text = text.replaceAll('127.0.0.1:3000', `127.0.0.1:${replicas[0]}`)
    .replaceAll('127.0.0.1:3001', `127.0.0.1:${replicas[1]}`)
  const file = join(folder, path.split('/').at(-1)!)
  writeFileSync(file, text)
  return file
}

/** The part that Debian's apache2.conf and a2enmod would give: the modules that seed.conf names, and the event MPM. */
function apacheMain (folder: string, seed: string): string {
  const modules = [
    'mpm_event', 'authz_core', 'ssl', 'socache_shmcb', 'headers', 'alias', 'env', 'setenvif', 'proxy', 'proxy_http',
    'slotmem_shm', 'proxy_balancer', 'lbmethod_byrequests', 'lbmethod_bybusyness', 'reqtimeout', 'http2'
  ]
  return [
    ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
    `ServerRoot ${folder}`,
    `PidFile ${join(folder, 'apache2.pid')}`,
    `DefaultRuntimeDir ${folder}`,
    `ServerName ${SERVER_NAME}`,
    ...(process.getuid!() === 0 ? ['User www-data', 'Group www-data'] : []),
    `ErrorLog ${join(folder, 'main-error.log')}`,
    `Include ${seed}`,
    ''
  ].join('\n')
}
