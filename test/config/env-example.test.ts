import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import { EnvSchema, SECRET_SETTINGS } from '../../src/config/schema.ts'
import { GOOD, SECRET, loadConfig, problemsOf } from '../support/config.ts'
import { ROOT } from '../support/root.ts'

t.test('.env.example lists every setting in the order of the schema, with its default where it has one', async (t) => {
  const file = readFileSync(join(ROOT, '.env.example'), 'utf8')
  const entries = [...file.matchAll(/^#?([A-Z][A-Z_]*)=(.*)$/gm)].map(([, name, value]) => ({
    name: name!,
    value: value!
  }))
  t.same(entries.map(({ name }) => name).filter((name) => !name.endsWith('_FILE')), Object.keys(EnvSchema.properties))
  t.same(
    entries.map(({ name }) => name).filter((name) => name.endsWith('_FILE')),
    SECRET_SETTINGS.map((name) => `${name}_FILE`)
  )
  for (const [name, schema] of Object.entries(EnvSchema.properties)) {
    const { default: standard } = schema as { default?: unknown }
    // The file starts people in the recommended mode; proxy stays the default, so that upgrading changes nothing.
    const shown = name === 'OAUTH_MODE' ? 'broker' : standard
    if (shown !== undefined) t.equal(entries.find((entry) => entry.name === name)!.value, String(shown), name)
  }
  const uncommented = Object.fromEntries(entries.filter(({ name }) => !name.endsWith('_FILE')).map(({
    name,
    value
  }) => [name, value]))
  await t.resolves(
    loadConfig({ ...uncommented, ...GOOD, OIDC_CLIENT_SECRET: 's3cret', SEED_SECRET: SECRET }),
    'every value in the file is accepted'
  )
})

t.test('.env.example starts in broker mode once the provider and the client are filled in', async (t) => {
  const given = parseEnv(readFileSync(join(ROOT, '.env.example'), 'utf8'))
  t.same(
    (await problemsOf(t, given as Record<string, string>)).map((problem) => problem.split(' ')[0]),
    ['OIDC_ISSUER', 'OIDC_CLIENT_ID']
  )
  const filledIn = { OIDC_ISSUER: GOOD.OIDC_ISSUER, OIDC_CLIENT_ID: 'seed-client' }
  t.same(await loadConfig({ ...given, ...filledIn }), await loadConfig({ ...filledIn, OAUTH_MODE: 'broker' }))
})
