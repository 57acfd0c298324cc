import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { freePort } from '../support/free-port.ts'
import { SERVER, startProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, postMcp, ready } from '../support/seed.ts'
import { until } from '../support/until.ts'

const SCRIPT = join(ROOT, '.test-build/test/support/stdio-server.js')

function isRunning (pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  t.test(`processes of mounted servers and their children end when the shipped server gets ${signal}`, async (t) => {
    const provider = await startDevProvider({ algorithm: 'ES256' })
    t.teardown(async () => { await provider.close() })
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const folder = mkdtempSync(join(tmpdir(), 'seed-stdio-'))
    const file = join(folder, 'mounts.json')
    const common = { command: process.execPath, connectTimeoutSeconds: 60, connection: 'person' }
    writeFileSync(file, JSON.stringify({
      mounts: {
        good: { ...common, args: [SCRIPT] },
        stubborn: { ...common, args: [SCRIPT, 'stubborn'] }
      }
    }))
    const server = startProcess(t, [SERVER], {
      PORT: String(port),
      BASE_URL: url,
      HOST: '127.0.0.1',
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      SEED_MOUNTS: file,
      SEED_SECRET: 'x'.repeat(64),
      SHUTDOWN_GRACE_SECONDS: '1'
    }, folder)
    await server.printed(/Seed is ready/)
    await ready({ url })
    const call = async (name: string, sub: string): Promise<string> => {
      const request = modernRequest('tools/call', { name, arguments: {} })
      return (await postMcp({ url }, request, await provider.mint({ sub }))).body.result?.content[0].text ?? ''
    }
    await until(async () => (await call('good_count', 'ada')) !== '' && (await call('stubborn_count', 'ada')) !== '', 'both are there')
    const pids: number[] = []
    for (const mount of ['good', 'stubborn']) {
      for (const sub of ['ada', 'bob']) {
        pids.push(Number((await call(`${mount}_count`, sub)).split(' ')[0]), Number(await call(`${mount}_child`, sub)))
      }
    }
    t.equal(new Set(pids).size, 8, 'two people, two mounts: processes of their own, each with a child')
    t.ok(pids.every(isRunning))
    t.notMatch(await call('good_environment', 'ada'), 'x'.repeat(64), 'they get no secret of Seed')
    server.child.kill(signal)
    await server.ended
    await until(() => !pids.some(isRunning), 'all have ended')
  })
}
