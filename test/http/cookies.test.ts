import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { createCookies } from '../../src/http/cookies.ts'

/** Starts a server that sets cookies, clears one, and returns what it reads. */
async function startServer (t: Test, baseUrl: string) {
  const cookies = createCookies({ baseUrl, basePath: new URL(baseUrl).pathname.replace(/\/$/, '') })
  const app = Fastify()
  await app.register(cookie)
  t.teardown(async () => { await app.close() })
  app.get('/set', async (_request, reply) => {
    cookies.set(reply, { name: 'one', value: 'a value; with "everything"', maxAgeSeconds: 600 })
    cookies.set(reply, { name: 'two', value: '2', maxAgeSeconds: 60 })
    return ''
  })
  app.get('/clear', async (_request, reply) => {
    cookies.clear(reply, 'one')
    return ''
  })
  app.get('/read', async (request) => Object.fromEntries(cookies.read(request)))
  const set = async (url: string) => (await app.inject({ url })).headers['set-cookie']
  const read = async (cookie?: string) => (await app.inject({
    url: '/read',
    headers: { ...(cookie !== undefined && { cookie }) }
  })).json<Record<string, string>>()
  return { set, read }
}

t.test('a Seed below a path reads neither the cookies of another one on its host, nor those of one without a path',
  async (t) => {
    const baseUrls = ['https://example.com', 'https://example.com/sales', 'https://example.com/ops']
    const servers = await Promise.all(baseUrls.map(async (baseUrl) => await startServer(t, baseUrl)))
    const lines = await Promise.all(servers.map(async ({ set }) => (await set('/set'))![1]!))
    const names = lines.map((line) => line.split('=')[0]!)
    t.equal(new Set(names).size, 3)
    for (const name of names) t.match(name, /^__Host-seed(_[\w-]{8})?-two$/)
    const all = names.map((name, index) => `${name}=${baseUrls[index]}`).join('; ')
    for (const [index, { read }] of servers.entries()) t.same(await read(all), { two: baseUrls[index] })
  })

for (const [baseUrl, prefix, secure] of [
  ['https://seed.example.com', '__Host-seed-', '; Secure'],
  ['http://localhost:3000', 'seed-', '']
] as const) {
  t.test(`${baseUrl}: cookies are for this host, hidden from scripts, and sent when a site links here`, async (t) => {
    const { set, read } = await startServer(t, baseUrl)
    const [one, two] = await set('/set') as string[]
    t.equal(
      one,
      `${prefix}one=a%20value%3B%20with%20%22everything%22; Max-Age=600; Path=/; HttpOnly${secure}; SameSite=Lax`
    )
    t.equal(two, `${prefix}two=2; Max-Age=60; Path=/; HttpOnly${secure}; SameSite=Lax`, 'two cookies in one response')
    t.equal(
      (await read([one, two].map((line) => line!.split(';')[0]).join('; '))).one,
      'a value; with "everything"',
      'the value survives'
    )
    t.equal(await set('/clear'), `${prefix}one=; Max-Age=0; Path=/; HttpOnly${secure}; SameSite=Lax`)
  })

  t.test(`${baseUrl}: cookies with other names are ignored`, async (t) => {
    const { read } = await startServer(t, baseUrl)
    t.same(await read(), {})
    const sent = await read(
      `${prefix}sign-in-b=1; other=2; ${prefix}sign-in-a=3; x${prefix}sign-in-c=5; sign-in-d=6; ${prefix}${'e'.repeat(
        64
      )}=7; ${prefix}f.g=8`
    )
    t.same(Object.entries(sent), [['sign-in-b', '1'], ['sign-in-a', '3']], "in the browser's order")
    for (const twin of [
      'one',
      'Seed-one',
      '__Secure-seed-one',
      '__host-seed-one',
      secure === '' ? '__Host-seed-one' : 'seed-one'
    ]) {
      t.equal((await read(`${twin}=evil`)).one, undefined, twin)
      t.equal((await read(`${twin}=evil; ${prefix}one=good; ${twin}=evil`)).one, 'good')
    }
    t.equal((await read(`${prefix}one=first; ${prefix}one=second`)).one, 'first')
    for (const odd of ['', ';', '=', 'x', `${prefix}one`]) t.equal((await read(odd)).one, undefined, `"${odd}"`)
    t.equal((await read(`${prefix}one=%`)).one, '%', 'a value that cannot be decoded is read as it is')
  })
}
