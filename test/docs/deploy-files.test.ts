import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EnvSchema, SECRET_SETTINGS } from '../../src/config/schema.ts'
import { ROOT } from '../support/root.ts'

const read = async (path: string): Promise<string> => await readFile(join(ROOT, path), 'utf8')

t.test('the image is labelled with the version of package.json', async (t) => {
  const { version } = JSON.parse(await read('package.json')) as { version: string }
  t.match(await read('Dockerfile'), `\nARG VERSION=${version}\n`)
})

t.test('docker-compose.yml passes every setting of .env on', async (t) => {
  const passed = [...(await read('docker-compose.yml')).matchAll(/^ {6}- ([A-Z_]+)(?:=.*)?$/gm)]
    .map(([, name]) => name!)
    // Of Docker: capabilities.
    .filter((name) => name !== 'ALL')
  const settings = [...Object.keys(EnvSchema.properties), ...SECRET_SETTINGS.map((name) => `${name}_FILE`)]
    // Redis is the one beside it.
    .filter((name) => name !== 'REDIS_URL_FILE')
  t.same(new Set(passed), new Set(settings))
  t.equal(passed.length, settings.length, 'each once')
})
