import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as nodeModule from 'node:module'

/**
 * Fills the folder of NODE_COMPILE_CACHE with what V8 compiles while Seed starts, so that containers need not compile
 * it. Node.js reads the cache only as the user who wrote it; other users start without. Older Node.js has none.
 */
const SECONDS = 60

if (nodeModule.enableCompileCache !== undefined) {
  const environment = {
    ...process.env,
    AUTH_REQUIRED: 'false',
    CIMD_ENABLED: 'false',
    HOST: '127.0.0.1',
    // The build may share the network of a machine where the usual port is taken.
    PORT: String(20_000 + process.pid % 20_000)
  }
  const server = start(['dist/src/cli.js', 'serve'], environment)
  const late = setTimeout(() => { server.kill('SIGKILL') }, SECONDS * 1_000)
  for await (const chunk of server.stdout) if (String(chunk).includes('Seed is ready')) server.kill('SIGTERM')
  const [code] = await once(server, 'exit')
  clearTimeout(late)
  if (code !== 0) throw new Error(`The server ended with ${code}`)
  await once(start(['dist/src/cli.js', 'health'], environment), 'exit')
}

function start (args, env) {
  return spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
}
