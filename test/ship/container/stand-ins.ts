import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Engine } from './engine.ts'
import { locate } from './engine.ts'
import { run, succeed } from './run.ts'

/**
 * Images that take the parts of `node:26-alpine` and `redis:8-alpine` where no image registry can be reached: the same
 * files at the same places and the same users, made of npm's and Debian's packages. The C library is glibc.
 */
const NODE = { package: `node-linux-${process.arch}`, version: '26.12.1', npm: '11.20.0' }
/** Debian's glibc loads these by name. */
const NAME_SERVICE = ['libnss_files.so.2', 'libnss_dns.so.2', 'libresolv.so.2', 'libpthread.so.0', 'librt.so.1']
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'

/** Gives the engine `node:26-alpine`. */
export async function importNode (engine: Engine): Promise<void> {
  const { folder } = await downloadNode()
  const root = join(engine.folder, 'node-root')
  await createRoot(root, [join(folder, 'bin/node')], { name: 'node', uid: 1000, gid: 1000 })
  const local = join(root, 'usr/local')
  await mkdir(join(local, 'lib/node_modules'), { recursive: true })
  await mkdir(join(local, 'etc'))
  await cp(join(folder, 'bin/node'), join(local, 'bin/node'))
  await cp(join(folder, '../npm'), join(local, 'lib/node_modules/npm'), { recursive: true })
  for (const name of ['npm', 'npx']) {
    await succeed('chmod', ['755', join(local, `lib/node_modules/npm/bin/${name}-cli.js`)])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, 'bin', name))
  }
  // Where the npm registry is reached through a proxy with a CA of its own.
  await writeFile(join(local, 'etc/npmrc'), `cafile=${CERTIFICATES}\n`)
  await writeFile(
    join(local, 'bin/docker-entrypoint.sh'),
    '#!/bin/sh\nset -e\ncase "$1" in -*|"") set -- node "$@" ;; esac\nexec "$@"\n',
    { mode: 0o755 }
  )
  await importRoot(engine, root, ['node:26-alpine'], [
    'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["node"]'
  ])
}

/** Gives the engine `redis:8-alpine` and `redis:alpine`. */
export async function importRedis (engine: Engine): Promise<void> {
  const root = join(engine.folder, 'redis-root')
  const binaries = ['redis-server', 'redis-cli', 'setpriv'].map((name) => locate(name)!)
  await createRoot(root, binaries, { name: 'redis', uid: 999, gid: 1000 })
  for (const path of binaries) await cp(path, join(root, 'usr/local/bin', basename(path)), { dereference: true })
  await mkdir(join(root, 'data'))
  await succeed('chown', ['999:1000', join(root, 'data')])
  // The official one gives up root before it starts the server.
  await writeFile(
    join(root, 'usr/local/bin/docker-entrypoint.sh'),
    `#!/bin/sh
set -e
case "$1" in -*|"") set -- redis-server "$@" ;; esac
# The official one is compiled so.
if [ "$1" = redis-server ]; then set -- "$@" --protected-mode no; fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown -R redis .
  # The shell would take the applet of BusyBox.
  exec /usr/local/bin/setpriv --reuid=redis --regid=1000 --clear-groups "$@"
fi
exec "$@"
`,
    { mode: 0o755 }
  )
  await importRoot(engine, root, ['redis:8-alpine', 'redis:alpine'], [
    'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["redis-server"]', 'WORKDIR /data', 'VOLUME /data', 'EXPOSE 6379'
  ])
}

/** Downloads Node.js and npm by npm, once for all runs. */
async function downloadNode (): Promise<{ folder: string }> {
  const cache = join(homedir(), '.cache/seed-images')
  const folder = join(cache, `${NODE.package}-${NODE.version}-npm-${NODE.npm}`)
  if (!existsSync(folder)) {
    await mkdir(cache, { recursive: true })
    const temporary = await mkdtemp(join(cache, 'download-'))
    try {
      for (const [name, id] of [['node', `${NODE.package}@${NODE.version}`], ['npm', `npm@${NODE.npm}`]] as const) {
        await succeed('npm', ['pack', '--silent', id, '--pack-destination', temporary], { seconds: 180 })
        await mkdir(join(temporary, name))
        const file = `${id.replace('@', '-')}.tgz`
        await succeed('tar', ['xzf', join(temporary, file), '--strip-components=1', '-C', join(temporary, name)])
        await rm(join(temporary, file))
      }
      await rename(temporary, folder)
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }
  return { folder: join(folder, 'node') }
}

/** Writes a root file system with BusyBox, the libraries of some programs, and a user. */
async function createRoot (
  root: string,
  programs: readonly string[],
  { name, uid, gid }: { name: string, uid: number, gid: number }
): Promise<void> {
  await rm(root, { recursive: true, force: true })
  const folders = ['bin', 'sbin', 'dev', 'etc/ssl/certs', `home/${name}`, 'opt', 'proc', 'root', 'run', 'sys', 'tmp',
    'usr/bin', 'usr/sbin', 'usr/local/bin', 'var']
  for (const folder of folders) await mkdir(join(root, folder), { recursive: true })
  await succeed('chmod', ['1777', join(root, 'tmp')])
  await succeed('chown', [`${uid}:${gid}`, join(root, `home/${name}`)])
  await cp(locate('busybox')!, join(root, 'bin/busybox'), { dereference: true })
  for (const applet of (await succeed('busybox', ['--list-full'])).split('\n')) {
    if (applet === 'bin/busybox') continue
    await mkdir(join(root, dirname(applet)), { recursive: true })
    await symlink('/bin/busybox', join(root, applet))
  }
  const libraries = new Set((await Promise.all(programs.map(librariesOf))).flat())
  for (const path of [...libraries, ...await nameServiceLibraries()]) {
    await mkdir(join(root, dirname(path)), { recursive: true })
    await cp(path, join(root, path), { dereference: true })
  }
  const files = {
    passwd: `root:x:0:0:root:/root:/bin/sh\n${name}:x:${uid}:${gid}::/home/${name}:/bin/sh\n`,
    group: `root:x:0:root\n${name}:x:${gid}:${name}\n`,
    'nsswitch.conf': 'hosts: files dns\npasswd: files\ngroup: files\n',
    'ssl/certs/ca-certificates.crt': await readFile(CERTIFICATES, 'utf8')
  }
  for (const [file, content] of Object.entries(files)) await writeFile(join(root, 'etc', file), content)
}

async function librariesOf (program: string): Promise<string[]> {
  return [...(await succeed('ldd', [program])).matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!)
}

async function nameServiceLibraries (): Promise<string[]> {
  const { stdout } = await run(locate('ldconfig')!, ['-p'])
  return NAME_SERVICE.flatMap((name) => stdout.match(new RegExp(`${name} .*64.* => (/\\S+)`))?.[1] ?? [])
}

async function importRoot (engine: Engine, root: string, tags: readonly string[], changes: readonly string[]) {
  const archive = `${root}.tar`
  await succeed('tar', ['--numeric-owner', '-cf', archive, '-C', root, '.'])
  const path = 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  const [first, ...others] = tags
  await engine.dockerOutput(['import', ...[path, ...changes].flatMap((change) => ['--change', change]), archive, first!],
    { seconds: 180 })
  for (const tag of others) await engine.dockerOutput(['tag', first!, tag])
  await rm(root, { recursive: true })
  await rm(archive)
}
