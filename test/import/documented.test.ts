import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { SEED_SECRET } from '../support/broker.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { runCommand } from '../support/run-command.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import { answering, createImportFixture, describeApi, startApi } from './fixture.ts'

const PETS = describeApi({
  '/pets': { get: answering({ type: 'array', items: { type: 'string' } }, { operationId: 'listPets', tags: ['pets'] }) },
  '/owners/{id}': {
    parameters: [{ in: 'path', name: 'id', required: true, schema: { type: 'string' } }],
    get: answering({ type: 'string' }, { tags: ['owners'] })
  }
}, { info: { title: 'Pets', version: '1' } })

t.test('the commands of docs/openapi.md write the files that it names', async (t) => {
  const document = await readFile(join(ROOT, 'docs/openapi.md'), 'utf8')
  const commands = document.match(/^npx seed .*$/gm)!
  const files = document.match(/^(src|test)\/\S+/gm)!
  t.same([commands.length, files.length], [2, 6])
  const folder = await emptyFolder(t)
  t.match(await runCommands(t, commands, folder), [/GET \/owners\/\{id\}/, /2 of 2 operations are tools/])
  for (const file of files) t.ok(await readFile(join(folder, file), 'utf8'), file)
})

/** Runs commands of a document in a folder, for an API on this machine. @returns what they print */
async function runCommands (t: Test, commands: readonly string[], folder: string): Promise<string[]> {
  const server = createServer((_request, response) => { response.end(JSON.stringify(PETS)) })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  t.teardown(() => { server.close().closeAllConnections() })
  const before = process.cwd()
  process.chdir(folder)
  try {
    const outputs: string[] = []
    for (const command of commands) {
      const args = Array.from(command.matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, plain]) => quoted ?? plain!).slice(2)
        .map((arg) => arg.replace(/^https:\/\/[^/]+/, `http://127.0.0.1:${port}`))
      const { code, output } = await runCommand(args, {})
      t.equal(code, 0, command)
      outputs.push(output)
    }
    return outputs
  } finally {
    process.chdir(before)
  }
}

t.test('an internal API is called as docs/mounts.md says: for a group, with a secret and never the caller\'s token', async (t) => {
  const document = await readFile(join(ROOT, 'docs/mounts.md'), 'utf8')
  const [, example = ''] = /^## Example: an internal API\n([^]*?)\n## /m.exec(document) ?? []
  const [command, policy, settings] = Array.from(example.matchAll(/^```\w*\n([^]*?)^```$/gm), ([, block]) => block!)
  const project = await createImportFixture(t)
  await runCommands(t, [command!.trim()], project.folder)
  const path = join(project.out, 'list-pets.ts')
  await writeFile(path, (await readFile(path, 'utf8')).replace(/^ {2}input:/m, (member) => policy! + member))
  t.same(settings!.trim().split('\n').map((line) => line.split('=')[0]), ['PETS_URL', 'PETS_TOKEN_FILE'])
  const api = await startApi(t, 'PETS_URL', { status: 200, body: ['Rex'] })
  const secret = join(project.folder, 'secret')
  await writeFile(secret, 'secret-of-the-api\n')
  process.env['PETS_TOKEN_FILE'] = secret
  t.teardown(() => { delete process.env['PETS_TOKEN_FILE'] })
  const seed = await startSeed(t, { definitions: [await project.load('list-pets.js')] })
  await ready(seed)
  const request = modernRequest('tools/call', { name: 'list_pets', arguments: {} })
  const call = async (groups: string[]) => await postMcp(seed, request, await seed.provider.mint({ sub: 'ada', groups }))
  t.equal((await postMcp(seed, request)).status, 401)
  t.ok((await call([])).body.error, 'who is in no group of the tool has no such tool')
  t.same(api.requests, [])
  t.match((await call(['vets'])).body.result, { structuredContent: { items: ['Rex'] } })
  t.match(api.requests, [{ url: '/pets', headers: { authorization: 'Bearer secret-of-the-api' } }])
})

t.test('an internal API verifies which of the people calls, by an assertion of Seed', async (t) => {
  const project = await createImportFixture(t)
  await project.run(PETS)
  const audience = 'https://pets.internal/'
  const server = createServer(async (request, response) => {
    const [, assertion = ''] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? []
    const { payload } = await jwtVerify(assertion, createRemoteJWKSet(new URL(`${seed.url}/.well-known/jwks.json`)), {
      issuer: seed.url, audience, typ: 'caller-assertion+jwt', algorithms: ['ES256']
    })
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify([payload.sub, payload['email'], payload['groups'], 'name' in payload].map(String)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close().closeAllConnections() })
  const settings = {
    PETS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    PETS_ASSERTION_AUDIENCE: audience
  }
  Object.assign(process.env, settings)
  t.teardown(() => { for (const name of [...Object.keys(settings), 'PETS_ASSERTION_CLAIMS']) delete process.env[name] })
  const seed = await startSeed(t, { definitions: [await project.load('list-pets.js')], env: { SEED_SECRET } })
  await ready(seed)
  const request = modernRequest('tools/call', { name: 'list_pets', arguments: {} })
  for (const [sub, claims, sent] of [
    ['ada', 'email', 'undefined'], ['bob', 'email groups', 'vets'], ['bob', ' groups,email,', 'vets'],
    ['bob', 'email,\n groups', 'vets']
  ] as const) {
    process.env['PETS_ASSERTION_CLAIMS'] = claims
    const token = await seed.provider.mint({ sub, email: `${sub}@example.com`, groups: ['vets'], name: 'Somebody' })
    t.match((await postMcp(seed, request, token)).body.result, {
      structuredContent: { items: [sub, `${sub}@example.com`, sent, 'false'] }
    }, claims)
  }
})
