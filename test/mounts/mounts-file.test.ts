import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError } from '../../src/config/problem.ts'
import { MountsFileSchema } from '../../src/mounts/settings/mount-schema.ts'
import { readMounts } from '../../src/mounts/settings/mounts-file.ts'
import { ROOT } from '../support/root.ts'
import { startSeed } from '../support/seed.ts'
import { writeMounts } from '../support/upstream.ts'

/** Returns the problems of a file, without its path. */
async function problemsOf (mounts: object | string, files: Record<string, string> = {}): Promise<string[]> {
  const path = await writeMounts(mounts, files)
  try {
    readMounts(path)
    return []
  } catch (err) {
    const { problems } = err as ConfigError
    return problems.map((text) => text.replace(`SEED_MOUNTS (${path}): `, ''))
  }
}

t.test('an operator writes YAML or JSON, with a secret in a file of its own', async (t) => {
  const path = await writeMounts(`
# yaml-language-server: $schema=./mounts.schema.json
mounts:
  tickets:
    url: https://tickets.example/mcp
    headers: { X-Tenant: acme }
    secret: { file: tickets.key }
    groups: [support]
  calendar:
    url: http://calendar.example/mcp
    allowInsecureHttp: true
    secret: { file: tickets.key, header: X-API-Key }
  plain: { url: "http://plain.example/mcp" }
  local: { url: "http://127.0.0.1:3001/mcp", secret: { file: tickets.key, scheme: Token } }
`, { 'tickets.key': 's3cret\n' })
  t.match(readMounts(path).map(({ name, requestHeaders, groups }) => ({ name, requestHeaders, groups })), [
    { name: 'calendar', requestHeaders: { 'x-api-key': 's3cret' } },
    { name: 'local', requestHeaders: { authorization: 'Token s3cret' } },
    { name: 'plain', requestHeaders: {} },
    { name: 'tickets', requestHeaders: { 'x-tenant': 'acme', authorization: 'Bearer s3cret' }, groups: ['support'] }
  ])
})

t.test('every problem names the mount and the member', async (t) => {
  const url = 'https://a.example/mcp'
  t.same(await problemsOf('mounts: {a: [', {}), ['it is neither YAML nor JSON: Flow sequence in block collection must be sufficiently indented and end with a ] at line 1, column 14:'])
  t.match(await problemsOf('42'), ['the file must be an object'])
  t.match(await problemsOf('mounts: 4'), ['mounts must be an object'])
  t.match(await problemsOf({ Big_Name: { url } }), [/mount "Big_Name": the name must have 1 to 32 lower-case letters/])
  t.match(await problemsOf({ a: 7 }), ['mount "a": must be an object'])
  t.match(await problemsOf({ a: { url, tolls: true } }), ['mount "a": tolls is not a known member'])
  t.match(await problemsOf({ seed: { url } }), [/mount "seed": the name seed is reserved/])
  const overrides = { close: { maxAge: 1e12 } }
  t.match(await problemsOf({ a: { url, acr: ['a"b'], tools: { overrides } } }), [
    /mount "a": acr must be a list of .* without spaces, quotes/, /mount "a": tools.overrides.close: maxAge must be/
  ])
  t.match(await problemsOf({ a: { url: 'ftp://a' } }), ['mount "a": url must be an http or https URL (it is "ftp://a")'])
  t.match(await problemsOf({ a: { url: 'nonsense' } }), [/must be an http or https URL/])
  t.match(await problemsOf({ a: { url: 'https://u:p@a.example/' } }), ['mount "a": url must not have a password: use secret.file'])
  t.match(await problemsOf({ a: { url, headers: { Authorization: 'x', 'Mcp-Name': 'y' } } }), [
    /headers must not have authorization/, /headers must not have mcp-name/
  ])
  t.match(await problemsOf({ a: { url, secret: { file: 'none' } } }), [/secret.file .*none cannot be read \(ENOENT\)/])
  t.match(await problemsOf({ a: { url, secret: { file: 'k' } } }, { k: 'two\nlines' }), [/must have one line of printable/])
  t.match(await problemsOf({ a: { url: 'http://a.example', secret: { file: 'k' } } }, { k: 'secret' }),
    [/url must be https, as a secret is sent there \(or set allowInsecureHttp: true\)/])
})

t.test('a value of a wrong form has one problem, which says what it must be', async (t) => {
  const url = 'https://a.example/mcp'
  const problemOf = async (members: object): Promise<string[]> => await problemsOf({ a: { url, ...members } })
  t.same(await problemsOf(''), ['the file is empty: write a mount below "mounts:"'])
  t.same(await problemsOf('# only a comment'), ['the file is empty: write a mount below "mounts:"'])
  t.same(await problemsOf('{}'), ['the file needs mounts'])
  t.same(await problemsOf('mount: {}'), ['the file needs mounts', 'mount is not a known member'])
  t.same(await problemsOf('mounts:'), ['mounts must be an object'])
  t.same(await problemsOf({ a: {} }), ['mount "a": it must have either url or command'])
  t.same(await problemOf({ tools: { deny: 'delete_*' } }), ['mount "a": tools.deny must be a list'])
  t.same(await problemOf({ tools: 'none' }), ['mount "a": tools must be true or false or an object'])
  t.same(await problemOf({ tools: { denny: [] } }), ['mount "a": tools.denny is not a known member'])
  t.same(await problemOf({ tools: { deny: [''] } }), ['mount "a": tools.deny.0 must not be empty'])
  t.same(await problemOf({ tools: { deny: [5] } }), ['mount "a": tools.deny.0 must be a text or an object'])
  t.same(await problemOf({ tools: { deny: [{ readonly: true }] } }), ['mount "a": tools.deny.0.readonly is not a known member'])
  t.same(await problemOf({ tools: { deny: [{}] } }), ['mount "a": tools.deny.0 must not have fewer than 1 properties'])
  t.same(await problemOf({ tools: { overrides: { 'a/b': { nam: 'x' } } } }),
    ['mount "a": tools.overrides.a/b.nam is not a known member'])
  t.same(await problemOf({ claims: { level: {} } }),
    ['mount "a": claims.level must be a text, a number, true or false or a list'])
  t.same(await problemOf({ claims: { level: [null] } }),
    ['mount "a": claims.level.0 must be a text, a number or true or false'])
  t.same(await problemOf({ principalKind: 'robot' }), ['mount "a": principalKind must be person or service'])
  t.same(await problemOf({ timeoutSeconds: '5' }), ['mount "a": timeoutSeconds must be a whole number'])
  t.same(await problemOf({ timeoutSeconds: 0 }), ['mount "a": timeoutSeconds must be >= 1'])
})

t.test('names of variables, headers, claims and tools are checked as all else is', async (t) => {
  const url = 'https://a.example/mcp'
  const variables = 'it must have letters, digits and _ only, and not begin with a digit'
  t.same(await problemsOf({ a: { command: 'x', env: { 'MY-KEY': 'x' }, envFiles: { '2ND': 7 } } }), [
    `mount "a": env.MY-KEY has no valid name: ${variables}`, `mount "a": envFiles.2ND has no valid name: ${variables}`
  ])
  t.match(await problemsOf({ a: { url, headers: { 'X Tenant': ['x'] } } }), [
    'mount "a": headers.X Tenant has no valid name: it must have letters, digits and !#$%'
  ])
  t.match(await problemsOf({ a: { url, claims: { 'a\nb': {} }, tools: { overrides: { 'a\nb': 7 } } } }),
    [/tools.overrides.a\nb must be an object/, /claims.a\nb must be/])
  t.same(await problemsOf({ a: { url, claims: { '': 'x' } } }), ['mount "a": claims. is not a known member'])
})

t.test('all problems of a file are shown at once, and how many were left out', async (t) => {
  const url = 'https://a.example/mcp'
  const wrong = { url, tools: 7, prompts: 7, resources: 7, claims: { a: {} }, timeoutSeconds: '5' }
  const problems = await problemsOf({ a: wrong, b: wrong, c: wrong })
  t.equal(problems.length, 15)
  t.match(problems.at(-1), /^mount "c"/)
  const all = await problemsOf(Object.fromEntries(Array.from('abcdef', (name) => [name, wrong])))
  t.equal(all.length, 21)
  t.equal(all.at(-1), 'there are 10 more problems')
})

t.test('a file that cannot be read, or is not valid, stops the start with all problems', async (t) => {
  await t.rejects(startSeed(t, { env: { SEED_MOUNTS: '/nowhere/mounts.yaml' } }),
    { name: 'ConfigError', message: /SEED_MOUNTS \(\/nowhere\/mounts.yaml\): the file cannot be read \(ENOENT\)/ })
  await t.rejects(startSeed(t, { env: { SEED_MOUNTS: await writeMounts({ a: { url: 'x' }, b: { url: 'y' } }) } }),
    { message: /mount "a": url(.|\n)*mount "b": url/ })
})

t.test('docs/mounts.schema.json is the schema of the file', async (t) => {
  const path = join(ROOT, 'docs/mounts.schema.json')
  const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', ...JSON.parse(JSON.stringify(MountsFileSchema)) }
  if (process.env['UPDATE_MOUNTS_SCHEMA']) await writeFile(path, `${JSON.stringify(schema, null, 2)}\n`)
  else t.same(JSON.parse(await readFile(path, 'utf8')), schema, 'UPDATE_MOUNTS_SCHEMA=1 npm test -- test/mounts/mounts-file.test.ts')
})
