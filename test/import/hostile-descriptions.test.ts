import { readFile, readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import type TypeScript from 'typescript'
import { json, printCode, quote } from '../../src/import/code.ts'
import { cleanText } from '../../src/import/texts.ts'
import { EMPTY, answering, createImportFixture, describeApi } from './fixture.ts'

/** Not imported: packages that tests import are bundled. */
const ts = createRequire(import.meta.url)('typescript') as typeof TypeScript

/** Text that ends strings, templates, comments, regular expressions and lines. */
const ATTACK = '\'"`*/\n\r\u2028;globalThis.PWNED=1;//$' + '{globalThis.PWNED=1}\\\'</script>\u202e../../PWNED'

t.test('no text of a description is ever code or a comment of what is written', async (t) => {
  const project = await createImportFixture(t)
  const schema = {
    title: ATTACK,
    description: ATTACK,
    type: 'object',
    required: [ATTACK],
    properties: {
      [ATTACK]: { type: 'string', description: ATTACK, default: ATTACK, pattern: ATTACK, format: ATTACK },
      choice: { enum: [ATTACK, `${ATTACK}2`] },
      only: { const: ATTACK },
      constructor: { type: 'string' }
    }
  }
  const report = await project.run(describeApi({
    '/x/{id}': {
      post: answering(schema, {
        operationId: `../../${ATTACK}`,
        summary: ATTACK,
        description: ATTACK,
        tags: [ATTACK],
        parameters: [
          { in: 'path', name: 'id', required: true, schema: { type: 'string' }, description: ATTACK },
          { in: 'query', name: ATTACK, required: true, schema },
          { in: 'query', name: '__proto__', schema: { type: 'string' } },
          { in: 'query', name: 'constructor', required: true, schema: { type: 'string' } },
          { in: 'query', name: '???', schema: { type: 'string' } }
        ],
        requestBody: { required: true, description: ATTACK, content: { 'application/json': { schema } } }
      })
    }
  }, {
    info: { title: ATTACK, version: ATTACK },
    servers: [{ url: `https://example.com/${ATTACK}` }],
    components: { securitySchemes: { a: { type: 'apiKey', in: 'header', name: ATTACK } } }
  }))
  t.equal(report.tools, 1)
  t.notMatch(report.title, /\p{C}/u)
  const files = await project.list()
  t.ok(files.every((file) => /^(src\/tools|test)\/[\w.-]+\.(ts|json)$/.test(file)), files.join())
  for (const file of files.filter((file) => file.endsWith('.ts'))) {
    const source = await project.read(file)
    t.same(codeWith('globalThis.PWNED', source), [], file)
    t.notMatch(source, /[\u2028\u202e\r]/, `${file} has no characters that a reader does not see`)
    t.same(syntaxErrors(source), [], file)
  }
  const [name] = files.filter((file) => /^src\/tools\/[a-z].*\.ts$/.test(file))
  const tool = await project.load(name!.slice('src/tools/'.length).replace('.ts', '.js'))
  t.notOk('PWNED' in globalThis)
  t.notOk(Object.getOwnPropertyNames(tool.input.properties).some((name) => name === '__proto__' || name === 'constructor'))
  t.match(tool.name, /^[a-z][a-z0-9_]{0,63}$/)
})

t.test('paths that a URL would change, and references that leave the file, are refused', async (t) => {
  const project = await createImportFixture(t)
  const paths = ['/../admin', '/a/%2e%2e/b', '/a?b=1', '/a#b', '/a b', '/a\\b', '/{id}/x', '/a/{b'].map((path) => [path, { get: EMPTY }])
  const { refusals } = await project.run(describeApi({
    ...Object.fromEntries(paths),
    '/good': { get: EMPTY },
    '/file': { get: answering({ $ref: 'file:///etc/passwd' }) },
    '/url': { get: answering({ $ref: 'https://169.254.169.254/latest' }) },
    '/circle': { get: answering({ $ref: '#/components/schemas/A' }) },
    '/inherited': { get: answering({ $ref: '#/constructor/prototype' }) },
    '/object/{o}': { get: { ...EMPTY, parameters: [{ in: 'path', name: 'o', required: true, schema: { type: 'object' } }] } }
  }, { components: { schemas: { A: { $ref: '#/components/schemas/B' }, B: { $ref: '#/components/schemas/A' } } } }))
  t.same(refusals.map(({ key }) => key).filter((key) => key !== 'GET /inherited'), [
    ...paths.map(([path]) => `GET ${String(path)}`), 'GET /file', 'GET /url', 'GET /circle', 'GET /object/{o}'
  ])
  t.match(refusals.find(({ key }) => key === 'GET /url')!.reason, /not in this file: put all into one file first/)
})

t.test('schemas without end are cut', async (t) => {
  const project = await createImportFixture(t)
  const wide = Object.fromEntries(Array.from({ length: 201 }, (_, index) => [`p${index}`, { type: 'string' }]))
  const branch = (depth: number): object => depth === 0
    ? { type: 'string' }
    : { type: 'object', properties: Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [name, branch(depth - 1)])) }
  const deep = (depth: number): object => ({ type: 'array', items: depth === 0 ? {} : deep(depth - 1) })
  await project.run(describeApi({
    '/wide': { get: answering({ type: 'object', properties: wide }) },
    '/branch': { get: answering(branch(6)) },
    '/deep': { get: answering(deep(20)) },
    '/long': { get: answering({ enum: Array.from({ length: 100 }, (_, index) => `v${index}`) }, { description: 'x y '.repeat(10_000) }) }
  }))
  for (const name of await readdir(project.out)) {
    const { length } = await readFile(join(project.out, name), 'utf8')
    t.ok(length < 20_000, `${name} has ${length} characters`)
  }
})

t.test('a literal is the text it was made of, whatever that is', async (t) => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
    const source = `(${quote(text)})`
    t.equal(codeWith(text, source).length >= 0 && runInNewContext(source), text)
  }), { numRuns: 300 })
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    t.same(JSON.parse(JSON.stringify(runInNewContext(`(${printCode(json(value), 4)})`))), JSON.parse(JSON.stringify(value)))
  }), { numRuns: 200 })
  for (const longText of ['some words ', '/a-path/of/{parameters}', 'word'].map((part) => part.repeat(50))) {
    const printed = printCode(json({ a: longText, ['__proto__']: 1 }))
    t.ok(printed.split('\n').every((line) => line.length <= 120))
    t.equal(runInNewContext(`(${printed})`).a, longText)
  }
  t.equal(cleanText('\ud83d\ude00'.repeat(20), 10), '\ud83d\ude00\ud83d\ude00\ud83d\ude00\ud83d\ude00…')
})

/** Returns tokens that hold a text and are no strings, and comments with it. */
function codeWith (text: string, source: string): string[] {
  const scanner = ts.createScanner(ts.ScriptTarget.Latest, false, ts.LanguageVariant.Standard, source)
  const found: string[] = []
  for (let kind = scanner.scan(); kind !== ts.SyntaxKind.EndOfFileToken; kind = scanner.scan()) {
    const token = scanner.getTokenText()
    if (kind !== ts.SyntaxKind.StringLiteral && token.includes(text)) found.push(token)
  }
  return found
}

function syntaxErrors (source: string): unknown[] {
  const { diagnostics } = ts.transpileModule(source, { reportDiagnostics: true })
  return diagnostics!.map(({ messageText }) => messageText)
}
