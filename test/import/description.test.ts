import { createServer } from 'node:http'
import { join } from 'node:path'
import { writeFile, truncate } from 'node:fs/promises'
import t from 'tap'
import { readDescription } from '../../src/import/description.ts'
import { emptyFolder } from '../support/process.ts'
import { EMPTY, describeApi } from './fixture.ts'

const GOOD = JSON.stringify(describeApi({ '/x': { get: EMPTY } }))

t.test('a description that cannot be used is refused with the reason', async (t) => {
  const folder = await emptyFolder(t)
  const file = join(folder, 'api.yaml')
  const read = async (text: string) => {
    await writeFile(file, text)
    return await readDescription(file)
  }
  t.match((await read('openapi: 3.0.3\ninfo: {title: A, version: "1"}\npaths: {}\n')).document, { info: { title: 'A' } })
  for (const [text, message] of [
    ['{"openapi":', /neither JSON nor YAML: Unexpected end of JSON input/],
    ['a: [', /neither JSON nor YAML/],
    ['[1]', /is not an object/],
    ['swagger: "2.0"', /must be OpenAPI 3\.0 or 3\.1 \(it is Swagger 2\.0\)/],
    ['openapi: 3.2.0', /it is "3\.2\.0"/],
    ['openapi: 3.1.0\ninfo: {}', /not valid OpenAPI: .*(title|version|required)/],
    [GOOD.replace('{"get"', '{"parameters":[{"$ref":"#/components/parameters/none"}],"get"'), /not valid OpenAPI: .*none/],
    [`a: ${'['.repeat(120)}${']'.repeat(120)}`, /more than 100 levels/],
    ['a: &a [x, x, x, x, x, x, x, x, x, x]\n' + 'bcdefgh'.replace(/./g, (name, index: number) =>
      `${name}: &${name} [${Array.from({ length: 10 }, () => `*${'abcdefg'[index]!}`).join()}]\n`), /neither JSON nor YAML: Excessive alias count/]
  ] as const) await t.rejects(read(text), message, text.slice(0, 40))
  await truncate(file, 40 * 1024 * 1024)
  await t.rejects(readDescription(file), /has more than 33554432 bytes/)
  await t.rejects(readDescription(join(folder, 'none.json')), /cannot be read \(ENOENT\)/)
})

t.test('a description is fetched by https only, and redirects are not followed', async (t) => {
  const server = createServer((request, response) => {
    const status = request.url === '/good' ? 200 : request.url === '/moved' ? 302 : 404
    response.writeHead(status, { location: '/good' }).end(GOOD)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close().closeAllConnections() })
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  t.match((await readDescription(`${url}/good`)).document, { openapi: '3.1.0' })
  await t.rejects(readDescription(`${url}/moved`), /a redirect to .*\/good, which is not followed/)
  await t.rejects(readDescription(`${url}/none`), /\/none answered 404/)
  for (const source of ['http://api.example.com/x', 'ftp://example.com/x', 'file:///etc/passwd', 'https://']) {
    await t.rejects(readDescription(source), /must be a file or an https URL/, source)
  }
})
