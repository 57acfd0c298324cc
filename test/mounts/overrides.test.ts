import t from 'tap'
import { findOverride, listOverrides } from '../../src/mounts/settings/overrides.ts'
import { ERAS } from '../support/open-server.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'

t.test('the operator renames and describes a prompt of a mounted server', async (t) => {
  const upstream = await startUpstream(t)
  upstream.prompts.push({ name: 'bye', title: 'Bye', description: 'Says bye' })
  const greet = { name: 'welcome', title: 'Welcome', description: 'Welcomes somebody' }
  const seed = await startMounted(t, { calc: { url: upstream.url, prompts: { overrides: { greet } } } })
  for (const era of ERAS) {
    const { response: { result: { prompts } } } = await seed.send(era, 'prompts/list', {})
    t.match(prompts, [
      { name: 'calc_bye', title: 'Bye', description: 'Says bye' },
      { ...greet, name: 'calc_welcome', arguments: [{ name: 'who', required: true }] }
    ])
    const { response } = await seed.send(era, 'prompts/get', { name: 'calc_welcome', arguments: { who: 'Ada' } })
    t.match(response.result, { description: 'greet for Ada' })
    const old = await seed.send(era, 'prompts/get', { name: 'calc_greet', arguments: { who: 'Ada' } })
    t.match(old.response.error, { message: /calc_greet/ })
    const completion = await seed.send(era, 'completion/complete', {
      ref: { type: 'ref/prompt', name: 'calc_welcome' }, argument: { name: 'who', value: 'A' }
    })
    t.same(completion.response.result.completion.values, ['A1', 'A2'])
  }
})

t.test('a rule of a single prompt replaces that of the mount', async (t) => {
  const upstream = await startUpstream(t)
  upstream.prompts = ['greet', 'bye', 'admin'].map((name) => ({ name }))
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000 },
    env: {
      SEED_MOUNTS: await writeMounts({
        calc: {
          url: upstream.url,
          connectTimeoutSeconds: 60,
          groups: ['engineering'],
          prompts: { overrides: { bye: { groups: ['everyone'] }, admin: { groups: ['nobody'] } } }
        }
      })
    }
  })
  await ready(seed)
  const token = await seed.provider.mint({ groups: ['everyone'] })
  const { body } = await postMcp(seed, modernRequest('prompts/list', {}), token)
  t.same(body.result.prompts.map(({ name }: { name: string }) => name), ['calc_bye'])
  const get = async (name: string) =>
    (await postMcp(seed, modernRequest('prompts/get', { name, arguments: {} }), token)).body
  t.match(await get('calc_bye'), { result: { messages: [{}, {}] } })
  for (const name of ['calc_greet', 'calc_admin']) t.match(await get(name), { error: { message: new RegExp(name) } })
})

t.test('what a server names like a member of every object is offered under that name, without changes', async (t) => {
  const upstream = await startUpstream(t)
  const names = ['__proto__', 'constructor', 'toString']
  upstream.tools = names.map((name) => ({ ...ADD, name }))
  upstream.prompts = names.map((name) => ({ name }))
  const overrides = { add: { title: 'Sum' } }
  const seed = await startMounted(t, { calc: { url: upstream.url, tools: { overrides }, prompts: { overrides } } })
  for (const kind of ['tools', 'prompts']) {
    const { response: { result } } = await seed.send('modern', `${kind}/list`, {})
    t.same(result[kind].map(({ name }: { name: string }) => name).sort(), names.map((name) => `calc_${name}`))
  }
  t.equal(findOverride({ tools: { overrides } }, 'tools', 'add'), overrides.add)
  t.same(listOverrides({ tools: false, prompts: {} }), [])
})

t.test('nothing completes an argument of a server that completes none, whatever its name is', async (t) => {
  const upstream = await startUpstream(t)
  delete upstream.capabilities.completions
  upstream.prompts = [{ name: 'greet', arguments: [{ name: 'constructor' }, { name: 'toString' }] }]
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  for (const name of ['constructor', 'toString']) {
    const { response } = await seed.send('modern', 'completion/complete', {
      ref: { type: 'ref/prompt', name: 'calc_greet' }, argument: { name, value: 'a' }
    })
    t.match(response, { result: { completion: { values: [], total: 0 } } }, name)
    t.same(response.result.completion.values, [])
  }
})
