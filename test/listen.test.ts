import t from 'tap'
import { buildApp } from '../src/app.ts'
import { listen } from '../src/listen.ts'

const build = async (env: Record<string, string>) =>
  await buildApp({ AUTH_REQUIRED: 'false', LOG_LEVEL: 'silent', PORT: '0', ...env })

t.test('tells the port that the system chose', async (t) => {
  const app = await build({ HOST: '127.0.0.1' })
  t.teardown(async () => { await app.close() })
  const port = await listen(app)
  t.ok(port > 0)
  t.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200)
})

t.test('says in a sentence which setting is wrong', async (t) => {
  const app = await build({ HOST: '192.0.2.1' })
  await t.rejects(listen(app), { message: 'This machine has no address "192.0.2.1": set HOST to one it has' })
})

t.test('passes on what it has no sentence for', async (t) => {
  const app = await build({ HOST: '127.0.0.1' })
  const port = await listen(app)
  await t.rejects(listen(app), { message: /already listening/ })
  await t.rejects(fetch(`http://127.0.0.1:${port}/health`), 'and the app is closed')
})
