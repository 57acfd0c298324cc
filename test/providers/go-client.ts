import { execFile } from 'node:child_process'
import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from '../support/root.ts'
import type { RealClient } from './client.ts'
import { connectProgram } from './program-client.ts'
import { RegistryUnreachable } from './provider.ts'
import { runInstaller } from './run-installer.ts'

const SOURCE = join(ROOT, 'test/providers/go')
/** Versions in go.mod. */
const MINIMUM = [1, 25]
/** The toolchain that a Go older than that fetches from the module proxy. */
const TOOLCHAIN = 'golang.org/toolchain@v0.0.1-go1.26.8.linux'
/** One program, beside the folders of the clients. */
const folderOf = (cacheFolder: string): string => join(dirname(cacheFolder), 'go')

async function install (cacheFolder: string): Promise<void> {
  const folder = folderOf(cacheFolder)
  const sources = (await Promise.all(
    ['main.go', 'go.mod', 'go.sum'].map(async (name) => await readFile(join(SOURCE, name), 'utf8'))
  )).join('\n')
  const installed = join(folder, 'installed.txt')
  if (await readFile(installed, 'utf8').catch(() => '') === sources) return
  await mkdir(folder, { recursive: true })
  const go = await findGo(folder)
  await runInstaller(go, ['build', '-mod=readonly', '-o', join(folder, 'client.part'), '.'], { cwd: SOURCE })
  await rename(join(folder, 'client.part'), join(folder, 'client'))
  await writeFile(installed, sources)
}

/** Returns a Go that is new enough: the machine's, or one that is fetched into the folder. */
export async function findGo (folder: string): Promise<string> {
  const { stdout } = await promisify(execFile)('go', ['version']).catch((err: Error) => {
    throw new RegistryUnreachable('Go is missing; as root: apt-get install --no-install-recommends golang-go', {
      cause: err
    })
  })
  const [major = 0, minor = 0] = /go(\d+)\.(\d+)/.exec(stdout)!.slice(1).map(Number)
  if (major > MINIMUM[0]! || (major === MINIMUM[0] && minor >= MINIMUM[1]!)) return 'go'
  // Debian's Go does not yet fetch toolchains by itself; as a module, theirs have no executable files.
  const toolchain = `${TOOLCHAIN}-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const modules = join(folder, 'modules')
  await runInstaller('go', ['mod', 'download', toolchain], {
    cwd: folder,
    env: { GOMODCACHE: modules, GOFLAGS: '-modcacherw' }
  })
  const home = join(modules, toolchain)
  for (const programs of ['bin', ...(await readdir(join(home, 'pkg/tool'))).map((name) => join('pkg/tool', name))]) {
    for (const name of await readdir(join(home, programs))) await chmod(join(home, programs, name), 0o755)
  }
  return join(home, 'bin/go')
}

/** The MCP SDK for Go, in both eras of the protocol. */
export const GO_CLIENTS: RealClient[] = ['2025-11-25', '2026-07-28'].map((version) => ({
  name: `Go SDK, ${version}`,
  install,
  connect: async (options) => await connectProgram({
    command: join(folderOf(options.cacheFolder), 'client'),
    args: [version],
    hasSessions: version === '2025-11-25'
  }, options)
}))
