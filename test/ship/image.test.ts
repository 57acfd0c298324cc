import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { ROOT } from '../support/root.ts'
import { startStopwatch } from '../support/stopwatch.ts'
import { createEngine, locate, locateDockerClient, whyNoEngine } from './container/engine.ts'
import type { Engine } from './container/engine.ts'
import { HEAP_SHARE, IMAGE, PROVIDER_IMAGE, callSignedIn, waitForLog, waitUntilHealthy, waitUntilReady, writeExtensions } from './container/fixture.ts'
import { run, succeed } from './container/run.ts'
import { locateCompose, testDemo, testGuide, testProduction, testProject, testSettings } from './container/compose.ts'
import { buildProject } from './container/project.ts'
import { importNode, importRedis } from './container/stand-ins.ts'

/**
 * The image, built and run by a real Docker engine of the test's own (container/engine.ts), as docs/deploy.md says. If
 * none can run, the test fails in CI, and says elsewhere what was left out.
 */
// Six minutes on two cores that do nothing else; the limit is for machines that do.
const FILE_SECONDS = 1_200
const LONG = { timeout: FILE_SECONDS * 1_000 }
const REVISION = '0123456789abcdef0123456789abcdef01234567'
const SOURCE = 'https://git.example.com/seed'
const NEEDS_COMPOSE = 'Docker Compose: apt-get install docker-compose'
const SECRET = 'q8Zr2mYw5Xk1Vb7Nc4Tj9Lf3Hd6Gs0Pa'
/** The flags of docs/deploy.md. */
const HARDENED = ['--init', '--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges',
  '--stop-timeout', '30']
/** A container of a test need not wait for half a minute until it is known to be well. */
const HEALTH = ['--health-interval', '500ms']

t.setTimeout(FILE_SECONDS * 1_000)
const reason = whyNoEngine()

if (reason === undefined) t.test('the image', { timeout: FILE_SECONDS * 1_000 }, testImage)
else if (process.env['CI']) t.fail(`The image was not tested: ${reason}`)
else t.plan(0, `the image was not built or run: ${reason}`)

async function testImage (t: Test): Promise<void> {
  const engine = await createEngine()
  t.teardown(async () => { await engine.stop() })
  await engine.start('machine')
  await importNode(engine)
  await importRedis(engine)

  let buildSeconds = 0
  await t.test('the legacy builder builds the image', LONG, async () => {
    const seconds = startStopwatch()
    await build(engine, IMAGE, '0')
    buildSeconds += seconds()
  })
  await t.test('BuildKit builds it', LONG, async (t) => {
    const { hasBuildKit } = await locateDockerClient()
    if (!hasBuildKit) return missing(t, 'a Docker client with BuildKit')
    await build(engine, 'seed-mcp-server:buildkit', '1')
  })
  await t.test('buildah builds it, with its health check', LONG, async (t) => { await buildWithBuildah(t, engine) })
  await t.test('the development provider has an image of its own', LONG, async () => {
    const seconds = startStopwatch()
    await engine.dockerOutput(['build', '--network=host', '-t', PROVIDER_IMAGE, '-f', 'deploy/demo/Dockerfile', '.'], {
      cwd: ROOT, seconds: 180, env: { DOCKER_BUILDKIT: '0' }
    })
    buildSeconds += seconds()
  })

  await t.test("the Dockerfile of a project of one's own builds it, and runs its tests", LONG, async (t) => {
    await buildProject(t, engine)
  })

  const compose = await locateCompose(engine)
  await engine.start('own')
  await t.test('the image holds what Seed needs, and nothing that anyone but root may write', LONG, async (t) => {
    await testContent(t, engine)
  })
  await t.test('its arguments are the commands of seed, from any folder', LONG, async (t) => { await testCommands(t, engine) })
  await t.test('it runs as any user, read-only and without capabilities', LONG, async (t) => { await testUsers(t, engine) })
  await t.test('Redis, tools with packages, sign-in, commands and SIGTERM, as docs/deploy.md runs them', LONG, async (t) => {
    await testWithRedis(t, engine)
  })
  const files = {
    '`docker compose --profile demo up` in a fresh clone ends in a signed-in call': testDemo,
    'docker-compose.yml with the settings of .env ends in a signed-in call': testSettings,
    'deploy/compose ends in a signed-in call, with limits, secrets as files and a hardened Redis': testProduction,
    "compose.yaml of a project of one's own ends in a signed-in call of its tool": testProject,
    'the Compose file of the published guide ends in a signed-in call': testGuide
  }
  for (const [name, testFile] of Object.entries(files)) {
    await t.test(name, LONG, async (t) => {
      if (compose === undefined) return missing(t, NEEDS_COMPOSE)
      await testFile(t, engine, compose, buildSeconds)
    })
  }
}

/** Fails in CI what cannot be tested, and skips it elsewhere by name. */
function missing (t: Test, what: string): void {
  if (process.env['CI']) t.fail(`needs ${what}`)
  else t.plan(0, `needs ${what}`)
}

async function build (engine: Engine, tag: string, buildKit: '0' | '1'): Promise<void> {
  await engine.dockerOutput(
    ['build', '--network=host', '-t', tag, '--build-arg', `REVISION=${REVISION}`, '--build-arg', `SOURCE=${SOURCE}`, '.'],
    { cwd: ROOT, seconds: 180, env: { DOCKER_BUILDKIT: buildKit } }
  )
}

async function buildWithBuildah (t: Test, engine: Engine): Promise<void> {
  const buildah = locate('buildah')
  if (buildah === undefined) return missing(t, 'buildah: apt-get install buildah')
  const archive = join(engine.folder, 'node.tar')
  await engine.dockerOutput(['save', '-o', archive, 'node:26-alpine'])
  const storage = ['--root', join(engine.folder, 'buildah'), '--runroot', join(engine.folder, 'buildah-run'),
    '--storage-driver', 'overlay']
  const env = { PATH: engine.environment['PATH']!, BUILDAH_ISOLATION: 'chroot' }
  await succeed(buildah, [...storage, 'pull', `docker-archive:${archive}`], { env, seconds: 120 })
  t.teardown(async () => { await run(buildah, [...storage, 'rmi', '--all', '--force'], { env }) })
  await succeed(buildah, [
    ...storage, 'build', '--pull-never', '--network=host', '--format', 'docker', '-t', IMAGE, '.'
  ], { cwd: ROOT, env, seconds: 240 })
  const { Docker } = JSON.parse(await succeed(buildah, [...storage, 'inspect', '--type', 'image', IMAGE], { env }))
  t.match(Docker.config, {
    Entrypoint: ['/usr/local/bin/seed'], Cmd: ['serve'], User: '1000:1000', Healthcheck: { Test: ['CMD', 'seed', 'health'] }
  })
}

async function testContent (t: Test, engine: Engine): Promise<void> {
  const { Config } = JSON.parse(await engine.dockerOutput(['inspect', '--format', '{{json .}}', IMAGE]))
  t.match(Config, {
    User: '1000:1000',
    Entrypoint: ['/usr/local/bin/seed'],
    Cmd: ['serve'],
    Healthcheck: { Test: ['CMD', 'seed', 'health'] },
    Labels: {
      'org.opencontainers.image.version': /^\d+\.\d+\.\d+/,
      'org.opencontainers.image.revision': REVISION,
      'org.opencontainers.image.source': SOURCE,
      'org.opencontainers.image.base.name': 'node:26-alpine'
    }
  })
  const find = async (expression: string): Promise<string> =>
    await engine.dockerOutput([
      'run', '--rm', '--network', 'none', '--user', '0', '--entrypoint', 'sh', IMAGE, '-c', `find / -xdev ${expression}`
    ])
  t.equal(await find('\\( -name npm -o -name npx -o -name node_modules -o -name yarn -o -name corepack \\)'), '')
  t.equal(await find('-path /app/\\* \\( -name .env -o -name \\*.d.ts -o -name .npmrc \\)'), '')
  t.equal(await find('\\( -path /app -o -path /app/\\* -o -name seed \\) \\( ! -user root -o -perm /022 \\)'), '')
  t.equal(await find('-perm /6000 -type f'), '', 'nothing is setuid')

  const { stderr } = await engine.docker([
    'run', '--rm', '--read-only', '--network', 'none', '-e', 'NODE_DEBUG_NATIVE=COMPILE_CACHE', IMAGE, '--version'
  ])
  t.match(stderr, /V8 code cache for ESM file:\/\/\/app\/dist\/\S+ was accepted/)
  t.notMatch(stderr, /was rejected/)
}

async function testCommands (t: Test, engine: Engine): Promise<void> {
  const seed = async (...args: string[]) => await engine.docker(['run', '--rm', '--network', 'none', ...args])
  t.match(await seed(IMAGE, '--version'), { code: 0, stdout: /\d+\.\d+\.\d+/ })
  t.match(await seed(IMAGE, 'seed', '--version'), { code: 0, stdout: /\d+\.\d+\.\d+/ }, 'with its name, too')
  t.match(await seed('-w', '/tmp', IMAGE), { code: 1, stderr: /OIDC_ISSUER/ }, 'serve')
  t.match(
    await seed('-w', '/', '-e', 'AUTH_REQUIRED=false', IMAGE, 'explain', '--tool', 'seed_ping'),
    { code: 0, stdout: /seed_ping/ }
  )
  t.match(await seed('-e', 'OIDC_ISSUER=http://localhost:1', IMAGE, 'doctor'), { code: 2, stdout: /OIDC_/ })
  t.match(await seed(IMAGE, 'health'), { code: 1, stderr: /does not answer/ })
}

async function testUsers (t: Test, engine: Engine): Promise<void> {
  for (const [name, user] of [['root', '0'], ['openshift', '1000660000:0']] as const) {
    await engine.dockerOutput(['run', '-d', '--name', name, '--user', user, '--read-only', '--cap-drop', 'ALL',
      '--security-opt', 'no-new-privileges', '--memory', '128m', '-w', '/', '-e', 'AUTH_REQUIRED=false',
      '-e', 'CIMD_ENABLED=false', ...HEALTH, IMAGE])
    await waitUntilHealthy(engine, name)
    await engine.dockerOutput(['stop', name])
    t.equal(await engine.dockerOutput(['inspect', '--format', '{{.State.ExitCode}}', name]), '0', name)
  }
}

async function testWithRedis (t: Test, engine: Engine): Promise<void> {
  const extensions = join(engine.folder, 'extensions')
  await mkdir(extensions)
  await writeExtensions(extensions)
  const settings = join(engine.folder, 'env')
  await writeFile(settings, Object.entries({
    BASE_URL: 'http://localhost:3000',
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: 'http://localhost:3001',
    OIDC_CLIENT_ID: 'seed-dev-confidential',
    OIDC_CLIENT_SECRET: 'dev-secret',
    SEED_SECRET: SECRET,
    SEED_EXTENSIONS: '/extensions',
    CIMD_ENABLED: 'false'
  }).map(([name, value]) => `${name}=${value}\n`).join(''))

  t.teardown(async () => {
    await engine.docker(['rm', '-f', '-v', 'seed', 'redis', 'provider'])
    await engine.docker(['network', 'rm', 'seed'])
  })
  await engine.dockerOutput(['network', 'create', 'seed'])
  await engine.dockerOutput(['run', '-d', '--name', 'redis', '--network', 'seed', 'redis:8-alpine',
    'redis-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'])
  await engine.dockerOutput(['run', '-d', '--name', 'seed', '--network', 'seed', '-p', '127.0.0.1:3000:3000',
    '-p', '127.0.0.1:3001:3001', '--env-file', settings, '-e', 'REDIS_URL=redis://redis:6379', ...HARDENED, ...HEALTH,
    '--memory', '256m', '-v', `${extensions}:/extensions:ro`, IMAGE])
  await engine.dockerOutput(['run', '-d', '--name', 'provider', '--network', 'container:seed', PROVIDER_IMAGE])
  await waitUntilHealthy(engine, 'seed')
  await waitForLog(engine, 'provider', 'Sign in as')
  await waitUntilReady(engine)

  const { tools, results: [greeting], accessToken } = await callSignedIn(engine, 'greeting')
  t.same(tools.sort(), ['greeting', 'heap', 'seed_ping', 'slow', 'whoami'])
  t.match(greeting, { structuredContent: { text: 'Hello Ada Lovelace' } }, 'a tool with a package of its own')
  const { results: [heap] } = await callSignedIn(engine, 'heap')
  const { megabytes } = heap!.structuredContent as { megabytes: number }
  t.ok(Math.abs(megabytes - 256 * HEAP_SHARE) < 32, `the heap may take ${megabytes} of 256 MB`)

  const seed = async (...args: string[]) => await engine.docker(['exec', 'seed', 'seed', ...args])
  t.match(await seed('doctor', '--json'), { stdout: /^\{|^\[/ })
  t.match(await seed('explain', '--tool', 'greeting'), { code: 0, stdout: /greeting/ })
  const status = async () => (await engine.inNetwork('curl', [
    '-s', '-o', '/dev/null', '-w', '%{http_code}', '-H', `Authorization: Bearer ${accessToken}`, 'http://localhost:3000/mcp'
  ])).stdout
  t.not(await status(), '401')
  const { results: [{ structuredContent: caller } = {}] } = await callSignedIn(engine, 'whoami')
  t.match(await seed('revoke', '--subject', String(caller!['subject'])), { code: 0 })
  t.equal(await status(), '401', 'a revoked token is refused at once')

  const running = callSignedIn(engine, 'slow', { count: 8 })
  await waitForLog(engine, 'seed', 'a slow call began', 8)
  const began = Date.now()
  await engine.dockerOutput(['stop', 'seed'])
  const seconds = (Date.now() - began) / 1_000
  t.ok(seconds < 15, `SIGTERM ended the container after ${seconds} s`)
  t.equal(await engine.dockerOutput(['inspect', '--format', '{{.State.ExitCode}}', 'seed']), '0')
  t.same(
    (await running).results.map(({ structuredContent, failed }) => structuredContent ?? failed),
    Array(8).fill({ done: true }),
    'calls that were running finished'
  )
}
