import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { createHttpsClient } from './https-client.ts'
import type { HttpsClient } from './https-client.ts'
import { ROOT } from './root.ts'
import { selfSigned } from './tls.ts'

export type { Answer } from './https-client.ts'

const INSTALL = 'no nginx on PATH: apt-get install nginx'

/** The name in the shipped file. */
export const SERVER_NAME = 'seed.example.com'

/** The name in the shipped file for Seed below a path. */
export const PATH_SERVER_NAME = 'tools.example.com'

export interface Nginx extends HttpsClient {
  /** The https port on 127.0.0.1. */
  port: number
  /** The http port. */
  plainPort: number
  /** The certificate, as its own authority. */
  ca: string
  /** Everything that nginx printed. */
  output (): string
  /** The lines of the access log so far, parsed. */
  accessLog (): Array<Record<string, unknown>>
  errorLog (): string
}

/** Finds a program on PATH or in /usr/sbin. */
export function findProgram (name: string): string | undefined {
  const candidates = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'].map((folder) => join(folder, name))
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * nginx with the shipped deploy/nginx/seed.conf in front of two replicas on these ports, until the test ends. Only
 * addresses, ports and paths in it are changed. Without nginx it fails in CI and skips elsewhere, by name.
 *
 * @param isBelowPath with the files of deploy/nginx/path instead, for Seed at PATH_SERVER_NAME/seed
 */
export async function nginxForTests (
  t: Test, replicas: readonly [number, number], { isBelowPath = false } = {}
): Promise<Nginx | undefined> {
  const binary = findProgram('nginx')
  if (binary === undefined) {
    if (process.env.CI) t.fail(INSTALL)
    else t.plan(0, INSTALL)
    return undefined
  }
  const serverName = isBelowPath ? PATH_SERVER_NAME : SERVER_NAME
  const { key, cert } = selfSigned(t, [serverName])
  const folder = join(t.testdirName, 'nginx')
  mkdirSync(folder)
  const [port, plainPort] = [await freePort(), await freePort()]
  const files = {
    cert: join(folder, 'cert.pem'),
    key: join(folder, 'key.pem'),
    access: join(folder, 'access.log'),
    error: join(folder, 'error.log'),
    seed: join(folder, 'seed.conf'),
    proxy: join(folder, 'seed-proxy.conf'),
    main: join(folder, 'nginx.conf')
  }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  const logs = { '/var/log/nginx/seed.log': files.access }
  if (isBelowPath) writeFileSync(files.proxy, substitute('deploy/nginx/path/seed-proxy.conf', logs))
  writeFileSync(files.seed, substitute(isBelowPath ? 'deploy/nginx/path/seed.conf' : 'deploy/nginx/seed.conf', {
    '127.0.0.1:3000': `127.0.0.1:${replicas[0]}`,
    '127.0.0.1:3001': `127.0.0.1:${replicas[1]}`,
    'listen 443': `listen 127.0.0.1:${port}`,
    '/etc/ssl/seed/fullchain.pem': files.cert,
    '/etc/ssl/seed/privkey.pem': files.key,
    '/var/log/nginx/seed-error.log': files.error,
    ...isBelowPath
      ? { '/etc/nginx/seed-proxy.conf': files.proxy }
      : { ...logs, 'listen 80': `listen 127.0.0.1:${plainPort}` }
  }))
  writeFileSync(files.main, mainConfiguration(folder, files.seed))
  const args = ['-e', 'stderr', '-p', folder, '-c', files.main]
  await run(binary, [...args, '-t'])

  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const end = (): void => { child.kill('SIGTERM') }
  process.once('exit', end)
  let output = ''
  const ended = once(child, 'close')
  t.teardown(async () => {
    end()
    await ended
    process.removeListener('exit', end)
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { output += chunk })
  // Its sockets are open before its workers are.
  while (!output.includes('start worker process ')) {
    if (child.exitCode !== null) throw new Error(output)
    await Promise.race([once(child.stderr, 'data'), ended])
  }

  return {
    port,
    plainPort,
    ca: cert,
    output: () => output,
    accessLog: () =>
      readFileSync(files.access, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    errorLog: () => readFileSync(files.error, 'utf8'),
    ...createHttpsClient({ port, ca: cert, serverName })
  }
}

/** Replaces each of these everywhere in a shipped file; throws for one that is not there. */
function substitute (path: string, changes: Record<string, string>): string {
  let changed = readFileSync(join(ROOT, path), 'utf8')
  for (const [from, to] of Object.entries(changes)) {
    if (!changed.includes(from)) throw new Error(`${path} has no ${from}`)
    changed = changed.replaceAll(from, to)
  }
  return changed
}

/** Debian's nginx.conf around conf.d, without root and in the foreground. */
function mainConfiguration (folder: string, seed: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${join(folder, name)};`
  )
  return [
    ...(process.getuid!() === 0 ? ['user root;'] : []),
    'daemon off;',
    'worker_processes 2;',
    `pid ${join(folder, 'nginx.pid')};`,
    'error_log stderr notice;',
    'events { worker_connections 1024; }',
    'http {',
    ...temporary,
    '  access_log off;',
    `  include ${seed};`,
    '}',
    ''
  ].join('\n')
}

/** Runs `nginx -t`; throws what it printed if it refuses, or warns. */
async function run (binary: string, args: string[]): Promise<void> {
  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const [output, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
  if (code !== 0 || /\[(warn|emerg|error)\]/.test(output)) throw new Error(output)
}
