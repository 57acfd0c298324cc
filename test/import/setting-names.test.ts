import t from 'tap'
import { settingsOf } from '../../src/import/setting-names.ts'
import { EMPTY, callImported, createImportFixture, describeApi, startApi } from './fixture.ts'

t.test('no setting belongs to two APIs, whatever words their names have in common', (t) => {
  const words = new Set(['api', ...Object.values(settingsOf('pets')).flatMap((name) => name.toLowerCase().split('_').slice(1))])
  const longer = (names: readonly string[]) => names.flatMap((name) => Array.from(words, (word) => `${name}_${word}`))
  const short = ['api', 'pets', 'redis', 'base', 'server_policy', ...words]
  const names = [...new Set([...short, ...longer(short), ...longer(longer(short))])]
  const owners = new Map<string, string>()
  const shared: string[] = []
  for (const name of names) {
    for (const setting of Object.values(settingsOf(name))) {
      if (owners.has(setting)) shared.push(`${setting} of ${owners.get(setting)} and ${name}`)
      owners.set(setting, name)
    }
  }
  t.same(shared, [])
  t.equal(owners.size, names.length * 6)
  t.end()
})

t.test('the setting by which one API is told who calls sends no token to another', async (t) => {
  const project = await createImportFixture(t)
  const importNamed = async (title: string, id: string) =>
    await project.run(describeApi({ [`/${id}`]: { get: { ...EMPTY, operationId: id } } }, { info: { title, version: '1' } }))
  const pets = await importNamed('Pets', 'pet')
  const other = await importNamed('Pets assertion', 'other')
  process.env[pets.settings.assertionAudience] = 'https://pets.internal/'
  t.teardown(() => { delete process.env[pets.settings.assertionAudience] })
  const api = await startApi(t, other.settings.url, { status: 200, body: undefined })
  t.notMatch(await callImported(await project.load('other.js'), {}), { isError: true })
  t.match(api.requests, [{ url: '/other', headers: { authorization: undefined } }])
})
