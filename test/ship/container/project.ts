import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { NPM_ENV, packPackage } from '../../support/package.ts'
import { CLI } from '../../support/process.ts'
import type { Engine } from './engine.ts'
import { succeed } from './run.ts'

/** A project of one's own as `seed new` writes it, built by its own Dockerfile. */

const NAME = 'my-server'

export function projectFolder (engine: Engine): string {
  return join(engine.folder, NAME)
}

/** Writes a project, installs it as its README says, and builds the image that its compose.yaml names. */
export async function buildProject (t: Test, engine: Engine): Promise<void> {
  const seedPackage = await servePackage(t)
  const folder = projectFolder(engine)
  await succeed(process.execPath, [
    CLI, 'new', 'project', folder, '--package', seedPackage
  ], { env: { NODE_OPTIONS: '' } })
  await succeed('npm', ['install'], { cwd: folder, env: NPM_ENV, seconds: 180 })
  await engine.dockerOutput(['build', '--network=host', '-t', NAME, '.'], {
    cwd: folder, seconds: 300, env: { DOCKER_BUILDKIT: '0' }
  })
}

/** Serves the package where the build finds it too, as a registry would. @returns its URL */
async function servePackage (t: Test): Promise<string> {
  const tarball = await packPackage(t)
  const server = createServer((_request, response) => { createReadStream(tarball).pipe(response) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/seed-mcp-server.tgz`
}
