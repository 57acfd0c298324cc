import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { Test } from 'tap'
import { ROOT } from '../../support/root.ts'
import { startStopwatch } from '../../support/stopwatch.ts'
import { locate } from './engine.ts'
import type { Engine } from './engine.ts'
import { projectFolder } from './project.ts'
import { PROVIDER_IMAGE, callSignedIn, waitForLog, waitUntilHealthy, waitUntilReady } from './fixture.ts'
import { run, succeed } from './run.ts'
import type { Finished, RunOptions } from './run.ts'

/** The Compose files: each starts in an empty folder and ends with a signed-in call by a real MCP client. */

/** Runs Compose in a folder, as version 1 or as Docker's plugin, whichever the machine has. */
export type Compose = (folder: string, args: readonly string[], options?: RunOptions) => Promise<Finished>

export async function locateCompose (engine: Engine): Promise<Compose | undefined> {
  const hasPlugin = (await engine.docker(['compose', 'version'])).code === 0
  const standalone = locate('docker-compose')
  if (!hasPlugin && standalone === undefined) return undefined
  return async (folder, args, options = {}) => {
    const all = { seconds: 120, ...options, cwd: folder, env: { ...engine.environment, ...options.env } }
    return hasPlugin ? await engine.docker(['compose', ...args], all) : await run(standalone!, args, all)
  }
}

/** Starts a project, and takes it down with the test, volumes included. @returns the containers of Seed and Redis */
async function up (
  t: Test, engine: Engine, compose: Compose, folder: string,
  { args = [], service = 'seed' }: { args?: readonly string[], service?: string } = {}
) {
  t.teardown(async () => {
    await compose(folder, [...args, 'down', '--volumes', '--timeout', '5'])
    await engine.docker(['rm', '--force', 'provider'])
  })
  const { code, stdout, stderr } = await compose(folder, [...args, 'up', '-d'])
  if (code !== 0) throw new Error(`Compose ended with ${code}:\n${stdout}${stderr}`)
  return { seed: await containerOf(service), redis: await containerOf('redis') }

  async function containerOf (service: string): Promise<string> {
    return (await compose(folder, ['ps', '-q', service])).stdout.trim()
  }
}

/**
 * The file in this repository, whose images are built already, in a folder without .env.
 *
 * @param buildSeconds the time that the images took
 */
export async function testDemo (t: Test, engine: Engine, compose: Compose, buildSeconds: number): Promise<void> {
  const seconds = startStopwatch()
  const folder = join(engine.folder, 'demo')
  await mkdir(folder)
  await cp(join(ROOT, 'docker-compose.yml'), join(folder, 'docker-compose.yml'))
  // The images that it would build are those that the tests have built by the same files.
  const { stdout } = await compose(ROOT, ['--profile', 'demo', 'config'])
  t.match(stdout, /dockerfile: deploy\/demo\/Dockerfile/)
  const { seed } = await up(t, engine, compose, folder, { args: ['--profile', 'demo'] })
  await waitUntilReady(engine)
  const { results } = await callSignedIn(engine, 'whoami')
  t.match(results, [{ structuredContent: { signedIn: true, email: 'ada@example.com' } }])
  t.comment(`docker compose --profile demo up: ${buildSeconds + seconds()} s from a clone to a signed-in call, ` +
    `${buildSeconds} of them for building the images`)
  t.match(await inspect(engine, seed), {
    HostConfig: { ReadonlyRootfs: true, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges:true'] }
  })
}

/** The same file with the settings of .env. */
export async function testSettings (t: Test, engine: Engine, compose: Compose): Promise<void> {
  const folder = join(engine.folder, 'own')
  await mkdir(folder)
  await cp(join(ROOT, 'docker-compose.yml'), join(folder, 'docker-compose.yml'))
  const settings = {
    ...parseEnv(await readFile(join(ROOT, '.env.example'), 'utf8')),
    OIDC_ISSUER: 'http://localhost:3001',
    OIDC_CLIENT_ID: 'seed-dev-confidential',
    OIDC_CLIENT_SECRET: 'dev-secret',
    SEED_SECRET: 'q8Zr2mYw5Xk1Vb7Nc4Tj9Lf3Hd6Gs0Pa',
    ACCESS_GROUPS: 'engineering',
    CIMD_ENABLED: 'false'
  }
  await writeFile(join(folder, '.env'), Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join(''))
  const { seed } = await up(t, engine, compose, folder)
  await startProvider(engine, seed)
  await waitUntilReady(engine)
  t.match((await callSignedIn(engine, 'whoami')).results, [{ structuredContent: { groups: ['engineering', 'admins'] } }])
  const { Config: { Env } } = await inspect(engine, seed)
  t.ok((Env as string[]).includes('ACCESS_GROUPS=engineering'))
  t.match(await compose(folder, ['exec', '-T', 'seed', 'seed', 'doctor']), { stdout: /OIDC_ISSUER|provider/ })
}

/** deploy/compose, with the secrets that its script makes. */
export async function testProduction (t: Test, engine: Engine, compose: Compose): Promise<void> {
  const folder = join(engine.folder, 'production')
  await cp(join(ROOT, 'deploy/compose'), folder, { recursive: true })
  t.match(await run('sh', ['create-secrets.sh'], { cwd: folder, input: '' }), { code: 1, stderr: /client secret/ })
  await succeed('sh', ['create-secrets.sh'], { cwd: folder, input: 'dev-secret\n' })
  const secrets = async () => await succeed('sh', ['-c', 'cat secrets/*'], { cwd: folder })
  const before = await secrets()
  await succeed('sh', ['create-secrets.sh'], { cwd: folder, input: 'another\n' })
  t.equal(await secrets(), before, 'secrets that exist stay')

  const settings = {
    ...parseEnv(await readFile(join(ROOT, '.env.example'), 'utf8')),
    OIDC_ISSUER: 'http://localhost:3001',
    OIDC_CLIENT_ID: 'seed-dev-confidential',
    CIMD_ENABLED: 'false'
  }
  await writeFile(
    join(folder, 'seed.env'),
    Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join('')
  )
  // Only for the provider of this test, which shares Seed's network.
  await writeFile(
    join(folder, 'docker-compose.override.yml'),
    'services:\n  seed:\n    ports:\n      - "127.0.0.1:3001:3001"\n'
  )
  const { seed, redis } = await up(t, engine, compose, folder)
  await startProvider(engine, seed)
  await waitUntilReady(engine)
  t.match((await callSignedIn(engine, 'whoami')).results, [{ structuredContent: { email: 'ada@example.com' } }])

  const inspected = await inspect(engine, seed)
  for (const container of [inspected, await inspect(engine, redis)]) {
    t.match(container, {
      Config: { User: /^(1000:1000|redis)$/ },
      HostConfig: {
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges:true'],
        LogConfig: { Config: { 'max-size': '20m', 'max-file': '5' } }
      }
    }, container.Name)
    const { Memory: memory, NanoCpus: cpus, PidsLimit: processes } = container.HostConfig
    t.ok(memory > 0 && cpus > 0 && processes > 0, `${container.Name} has limits`)
  }
  const password = before.match(/redis:\/\/seed:(\w+)@/)![1]!
  t.notMatch(JSON.stringify([inspected, await inspect(engine, redis)]), new RegExp(`${password}|dev-secret`))
  const redisCli = async (...args: string[]) => await engine.dockerOutput(['exec', redis, 'redis-cli', ...args])
  t.match(await redisCli('get', 'seed:x'), 'NOPERM', 'nobody reads Redis without the password')
  t.match(await redisCli('--user', 'seed', '--pass', password, 'config', 'get', '*'), 'NOPERM', 'Seed cannot change Redis')

  await engine.dockerOutput(['restart', redis])
  await waitUntilHealthy(engine, redis)
  t.not(await redisCli('--user', 'seed', '--pass', password, 'dbsize'), '0', 'sign-ins survive a restart of Redis')
}

/** The Compose file of a project of one's own, whose image is built already. */
export async function testProject (t: Test, engine: Engine, compose: Compose): Promise<void> {
  const folder = projectFolder(engine)
  const settings = {
    ...parseEnv(await readFile(join(folder, '.env.example'), 'utf8')),
    BASE_URL: 'http://localhost:3000',
    OIDC_ISSUER: 'http://localhost:3001',
    OIDC_CLIENT_ID: 'seed-dev-confidential',
    OIDC_CLIENT_SECRET: 'dev-secret',
    SEED_SECRET: 'q8Zr2mYw5Xk1Vb7Nc4Tj9Lf3Hd6Gs0Pa',
    CIMD_ENABLED: 'false'
  }
  await writeFile(join(folder, '.env'), Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join(''))
  // Only for the provider of this test, which shares Seed's network.
  await writeFile(
    join(folder, 'compose.override.yaml'), 'services:\n  mcp:\n    ports:\n      - "127.0.0.1:3001:3001"\n'
  )
  const { seed } = await up(t, engine, compose, folder, { service: 'mcp' })
  await startProvider(engine, seed)
  await waitUntilReady(engine)
  await waitUntilHealthy(engine, seed)
  const { tools, results } = await callSignedIn(engine, 'add', { args: { a: 2, b: 3 } })
  t.same(tools.sort(), ['add', 'seed_ping', 'whoami'])
  t.match(results, [{ structuredContent: { sum: 5, caller: 'ada' } }])
  t.match(await inspect(engine, seed), {
    Config: { User: '1000:1000' },
    HostConfig: { ReadonlyRootfs: true, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges:true'] }
  })
  t.match(await compose(folder, ['exec', '-T', 'mcp', 'ls', 'dist', 'node_modules']), { stdout: /^dist:\nsrc\n[^]*seed-mcp-server/ })
  t.notMatch((await compose(folder, ['exec', '-T', 'mcp', 'ls', 'node_modules'])).stdout, /typescript/)
}

/** The Compose file of the published guide, word for word. */
const GUIDE = `version: '3.8'
services:
  redis:
    image: redis:alpine
    ports:
      - "6379:6379"
    volumes:
      - redis_data:/data
    restart: unless-stopped
  seed:
    image: seed-mcp-server:latest
    ports:
      - "3000:3000"
    environment:
      PORT: 3000
      BASE_URL: http://localhost:3000
      AUTH_REQUIRED: "true"
      OIDC_ISSUER: \${OIDC_ISSUER}
      OIDC_AUDIENCE: \${OIDC_AUDIENCE}
      OAUTH_TOKEN_URL: \${OAUTH_TOKEN_URL}
      OAUTH_AUTHORIZATION_URL: \${OAUTH_AUTHORIZATION_URL}
      REDIS_URL: redis://redis:6379
    depends_on:
      - redis
    restart: unless-stopped
volumes:
  redis_data:
`

export async function testGuide (t: Test, engine: Engine, compose: Compose): Promise<void> {
  const folder = join(engine.folder, 'guide')
  await mkdir(folder)
  await writeFile(join(folder, 'docker-compose.yml'), GUIDE)
  await writeFile(
    join(folder, 'docker-compose.override.yml'),
    "version: '3.8'\nservices:\n  seed:\n    ports:\n      - \"127.0.0.1:3001:3001\"\n"
  )
  await writeFile(join(folder, '.env'), `OIDC_ISSUER=http://localhost:3001
OIDC_AUDIENCE=seed-dev
OAUTH_TOKEN_URL=http://localhost:3001/token
OAUTH_AUTHORIZATION_URL=http://localhost:3001/auth
`)
  const { seed } = await up(t, engine, compose, folder)
  await startProvider(engine, seed)
  await waitUntilReady(engine)
  t.match(await engine.inNetwork('curl', ['-s', 'http://localhost:3000/health']), { stdout: /"status":"ok"/ })
  t.match((await callSignedIn(engine, 'seed_ping')).results, [{ structuredContent: {} }])
}

async function startProvider (engine: Engine, seed: string): Promise<void> {
  await engine.dockerOutput(['run', '-d', '--name', 'provider', '--network', `container:${seed}`, PROVIDER_IMAGE])
  await waitForLog(engine, 'provider', 'Sign in as')
}

async function inspect (engine: Engine, container: string): Promise<any> {
  return JSON.parse(await engine.dockerOutput(['inspect', '--format', '{{json .}}', container]))
}
