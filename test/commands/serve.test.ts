import { join } from 'node:path'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { COMPILED_CLI, emptyFolder, startProcess } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'

t.test('seed serve hands its options to the server as settings', async (t) => {
  const started: Array<Record<string, string>> = []
  const process = {
    async serve (overrides: Record<string, string>) {
      started.push(overrides)
      return 0
    }
  }
  t.match(await runCommand(['serve'], {}, undefined, process), { code: 0, output: '' })
  t.match(await runCommand(['serve', '--port', '8080', '--extensions', './tools'], {}, undefined, process), { code: 0 })
  t.same(started, [{}, { PORT: '8080', SEED_EXTENSIONS: './tools' }])
})

t.test('without a provider it says how to go on; a server that has one and cannot start does not', async (t) => {
  t.match(await runCommand(['serve'], {}), { code: 1, printedErrors: /ways to go on:\n[^]*AUTH_REQUIRED=false npx seed-mcp-server\n$/ })
  t.match(await runCommand(['serve'], { OIDC_ISSUER: 'https://id.example.com' }), { code: 1, printedErrors: '' })
  t.match(await runCommand(['serve'], { AUTH_REQUIRED: 'false' }), { code: 1, printedErrors: '' })
})

t.test('seed serve, health and check in processes of their own', async (t) => {
  const folder = await emptyFolder(t)
  const environment = { PORT: String(await freePort()), HOST: '127.0.0.1', AUTH_REQUIRED: 'false' }
  const run = (args: string[], env: Record<string, string> = environment) =>
    startProcess(t, [COMPILED_CLI, ...args], env, folder)
  const server = run(['serve', '--extensions', join(folder, 'nosuch')])
  t.match(await server.ended, { code: 1 })
  t.match(await server.output(), /nosuch/)

  const running = run(['serve'])
  await running.printed(/Seed is ready/)
  t.match(await run(['health']).ended, { code: 0 })
  running.child.kill('SIGTERM')
  t.match(await running.ended, { code: 0, signal: null })
  t.match(await run(['health']).ended, { code: 1 })
  t.match(await run(['check']).ended, { code: 0 })
})
