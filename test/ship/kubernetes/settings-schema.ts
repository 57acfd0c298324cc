import { EnvSchema, SECRET_SETTINGS } from '../../../src/config/schema.ts'

/** Settings that are made from other values of the chart. */
const OWN_VALUES = ['PORT', 'BASE_URL', 'METRICS_PORT', 'SHUTDOWN_DELAY_SECONDS', 'SHUTDOWN_GRACE_SECONDS']

interface SettingSchema { type?: string, enum?: unknown[], minimum?: number, maximum?: number }

/** Returns the part of values.schema.json about `settings` and `secretFiles`, from the settings that Seed has. */
export function settingsSchema (): { settings: object, secretFiles: object } {
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
