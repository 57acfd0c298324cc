import { join } from 'node:path'
import t from 'tap'
import { startDemo } from '../../dev/demo.ts'
import { callSignedIn } from '../support/call-signed-in.ts'
import { freePort } from '../support/free-port.ts'
import { COMPILED_CLI, emptyFolder, startProcess, writeDotenv } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { runCommand } from '../support/run-command.ts'

/** What `npx seed-mcp-server` runs. */
const NPX = join(ROOT, '.test-build/src/seed-mcp-server.js')

t.test('npx seed-mcp-server without a provider names three ways to go on', async (t) => {
  const server = startProcess(t, [NPX], {}, await emptyFolder(t))
  t.match(await server.ended, { code: 1 })
  const output = await server.output()
  t.match(output, /OIDC_ISSUER is missing[^]*three ways to go on/)
  for (const way of ['npx seed-mcp-server demo', 'OIDC_ISSUER=', 'AUTH_REQUIRED=false']) t.match(output, way)
})

t.test('npx seed-mcp-server demo signs people in whatever else is set, and takes no occupied port', async (t) => {
  const folder = await emptyFolder(t)
  await writeDotenv(folder, 'HOST=0.0.0.0\n')
  const [port, providerPort] = [String(await freePort()), String(await freePort())]
  const demo = startProcess(
    t,
    [NPX, 'demo', '--port', port, '--provider-port', providerPort],
    { OIDC_ISSUER: 'https://auth.example.com', OIDC_CLIENT_SECRET: 'x', REDIS_URL: 'redis://nowhere' },
    folder
  )
  await demo.printed(/Ctrl-C stops everything/)
  t.match(await demo.output(), `MCP endpoint   http://localhost:${port}/mcp`)
  t.match(await callSignedIn(`http://localhost:${port}/mcp`), { status: 'ok', caller: { subject: 'ada' } })

  const second = startProcess(t, [NPX, 'demo', '--port', port, '--provider-port', String(await freePort())], {}, folder)
  t.match(await second.ended, { code: 1 })
  t.match(await second.output(), `Port ${port} is already in use`)
  const third = startProcess(t, [COMPILED_CLI, 'demo', '--provider-port', providerPort], {}, folder)
  t.match(await third.ended, { code: 1 })
  t.match(await third.output(), `cannot listen on port ${providerPort} (EADDRINUSE)`)

  demo.child.kill('SIGINT')
  t.match(await demo.ended, { code: 0 })
})

t.test('the demo refuses to be reached from another machine', async (t) => {
  const demo = startProcess(t, [COMPILED_CLI, 'demo'], { HOST: '0.0.0.0' }, await emptyFolder(t))
  t.match(await demo.ended, { code: 1 })
  t.match(await demo.output(), 'remove HOST (it is "0.0.0.0")')
  const serve = async (): Promise<never> => { throw new Error('it has started') }
  for (const [setting, value] of [
    ['HOST', '0.0.0.0'], ['HOST', '::'], ['BASE_URL', 'https://seed.example.com'], ['BASE_URL', 'nonsense']
  ] as const) {
    const message = new RegExp(`remove ${setting} \\(it is "${value.replaceAll('.', '\\.')}"\\)`)
    await t.rejects(startDemo({ [setting]: value }, serve, () => {}), { message })
  }
})

t.test('the demo has a secret of its own at each start, so that mounts with identity.assertion can be tried', async (t) => {
  const secrets: unknown[] = []
  const serve = async ({ SEED_SECRET: secret, ...others }: NodeJS.ProcessEnv): Promise<boolean> => {
    secrets.push(secret)
    t.notOk('SEED_SECRET_PREVIOUS' in others || 'SEED_SECRET_FILE' in others)
    return false
  }
  const production = { SEED_SECRET: 'of production', SEED_SECRET_PREVIOUS: 'before', SEED_SECRET_FILE: '/run/secrets/x' }
  for (const settings of [{}, production]) {
    t.notOk(await startDemo({ DEV_PROVIDER_PORT: String(await freePort()), ...settings }, serve, () => {}))
  }
  const [first, second] = secrets as string[]
  t.match(first, /^[\w-]{43}$/)
  t.match(second, /^[\w-]{43}$/)
  t.not(first, second)
})

t.test('seed demo hands its options over as settings', async (t) => {
  const started: unknown[] = []
  const services = {
    async startDemo (overrides: Record<string, string>): Promise<number> {
      started.push(overrides)
      return 0
    }
  }
  t.match(await runCommand(['demo'], {}, undefined, services), { code: 0 })
  const options = ['--port', '1', '--provider-port', '2', '--extensions', './tools']
  t.match(await runCommand(['demo', ...options], {}, undefined, services), { code: 0 })
  t.same(started, [{}, { PORT: '1', DEV_PROVIDER_PORT: '2', SEED_EXTENSIONS: './tools' }])
})
