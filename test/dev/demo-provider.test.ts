import { join } from 'node:path'
import { networkInterfaces } from 'node:os'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { emptyFolder, startProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

t.test("the demo's provider is reached at all addresses of its container, and is http://localhost to everyone", async (t) => {
  const port = await freePort()
  const script = join(ROOT, '.test-build/dev/demo-provider.js')
  const provider = startProcess(t, [script], { DEV_PROVIDER_PORT: String(port) }, await emptyFolder(t))
  await provider.printed(/Sign in as ada \(password ada\) or bob \(password bob\)/)
  const outside = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)
  for (const host of ['localhost', '127.0.0.1', ...outside === undefined ? [] : [outside.address]]) {
    const answer = await fetch(`http://${host}:${port}/.well-known/openid-configuration`)
    t.match(await answer.json(), { issuer: `http://localhost:${port}` }, host)
  }
  provider.child.kill('SIGTERM')
  t.same(await provider.ended, { code: 0, signal: null })
})
