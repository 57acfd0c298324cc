import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EnvSchema, SECRET_SETTINGS } from '../../src/config/schema.ts'
import { ROOT } from '../support/root.ts'

/** deploy/helm/seed/values.schema.json refuses misspelt settings, so it must know all of them. */

const UPDATE = 'after a change of settings: UPDATE_CHART_SCHEMA=1 npm test -- test/config/chart-schema.test.ts'

t.test('the chart knows all settings of Seed, and no others', async (t) => {
  const path = join(ROOT, 'deploy/helm/seed/values.schema.json')
  const schema = JSON.parse(await readFile(path, 'utf8')) as { properties: Record<string, object> }
  const expected = { ...schema, properties: { ...schema.properties, ...settingsSchema() } }
  if (process.env['UPDATE_CHART_SCHEMA']) await writeFile(path, `${JSON.stringify(expected, null, 2)}\n`)
  else t.same(schema, expected, UPDATE)
})

/** Settings that are made from other values of the chart. */
const OWN_VALUES = ['PORT', 'BASE_URL', 'METRICS_PORT', 'SHUTDOWN_DELAY_SECONDS', 'SHUTDOWN_GRACE_SECONDS']

interface SettingSchema { type?: string, enum?: unknown[], minimum?: number, maximum?: number }

/** Returns the part of values.schema.json about `settings` and `secretFiles`, from the settings that Seed has. */
function settingsSchema (): { settings: object, secretFiles: object } {
  const secrets: readonly string[] = SECRET_SETTINGS
  const settings = Object.entries(EnvSchema.properties)
    .filter(([name]) => !OWN_VALUES.includes(name) && !secrets.includes(name))
    .map(([name, schema]) => [name, valueSchema(schema as SettingSchema)])
  const reference = {
    type: 'object',
    additionalProperties: false,
    required: ['secret', 'key'],
    properties: { secret: { type: 'string', minLength: 1 }, key: { type: 'string', minLength: 1 } }
  }
  return {
    settings: closed(Object.fromEntries(settings)),
    secretFiles: closed(Object.fromEntries(secrets.map((name) => [name, reference])))
  }
}

function closed (properties: object): object {
  return { type: 'object', additionalProperties: false, properties }
}

/** Seed reads lists as JSON arrays too. */
function valueSchema ({ type, enum: values, minimum, maximum }: SettingSchema): object {
  if (values !== undefined) return { enum: values }
  if (type === 'boolean') return { type }
  if (type === 'integer') {
    return { type, ...(minimum !== undefined && { minimum }), ...(maximum !== undefined && { maximum }) }
  }
  return { type: ['string', 'array'], items: { type: 'string' } }
}
