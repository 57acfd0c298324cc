import { execFile } from 'node:child_process'
import { chmod, chown, cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { freePort } from '../support/free-port.ts'
import { BUNDLE, emptyFolder, startCommand } from '../support/process.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, ready, sendModern } from '../support/seed.ts'
import { createPlainClient, signedIn } from '../support/sign-in.ts'
import { privatelySigned } from '../support/tls.ts'
import { kubernetesToolsForTests } from './kubernetes/tools.ts'
import type { Manifest } from './kubernetes/tools.ts'

/**
 * The built server with exactly the environment and the files that the chart gives a pod, as user 1000: the settings
 * work together. Only address, port and folders are others.
 */

const run = promisify(execFile)
const UID = 1000

const EXTENSION = `import { Type, defineTool } from 'seed-mcp-server'
export const hello = defineTool({
  name: 'hello',
  description: 'Says hello',
  input: Type.Object({}),
  handler: () => 'hello from the ConfigMap'
})
`

t.test('the environment of a pod lets a person sign in and call a tool', async (t) => {
  const tools = await kubernetesToolsForTests(t)
  const redis = await ownRedisForTests(t)
  if (!tools || !redis) return
  const port = await freePort()
  const url = `http://localhost:${port}`
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: [`${url}/oauth/callback`] })
  t.teardown(async () => { await provider.close() })

  const { ok, stdout, stderr } = await tools.helm(
    'template', 'release', join(ROOT, 'deploy/helm/seed'),
    '--values', join(ROOT, 'deploy/helm/seed/ci/production-values.yaml'),
    '--set', `baseUrl=${url}`,
    '--set', `settings.OIDC_ISSUER=${provider.issuer}`,
    '--set', `settings.OIDC_CLIENT_ID=${provider.clientId}-confidential`,
    '--set-json', 'settings.ACCESS_GROUPS=["engineering"]',
    '--set', 'settings.CIMD_ENABLED=false',
    '--set', `metrics.port=${await freePort()},shutdown.delaySeconds=0,shutdown.graceSeconds=1`
  )
  t.ok(ok, stderr)
  const folder = await emptyFolder(t)
  await chmod(folder, 0o755)
  const pod = await preparePod(folder, tools.parse(stdout), {
    SEED_SECRET: 'the secret of a Secret in Kubernetes, long enough',
    SEED_SECRET_PREVIOUS: 'the secret before it, which is long enough too',
    OIDC_CLIENT_SECRET: 'dev-secret',
    REDIS_URL: redis.url
  }, privatelySigned(t, ['localhost']).ca)

  const command = await asUser1000(join(folder, 'dist/src/server.js'))
  const server = startCommand(t, command[0]!, command.slice(1), { ...pod, PORT: String(port), HOST: '127.0.0.1' }, folder)
  await server.printed(/Seed is ready/)
  await ready({ url })
  const request = modernRequest('tools/call', { name: 'hello', arguments: {} })
  t.equal((await sendModern(url, request)).status, 401)
  const { access_token: token } = await signedIn(await createPlainClient(url))
  const answer = await sendModern(url, request, token)
  t.match(await answer.json(), { result: { content: [{ text: 'hello from the ConfigMap' }] } })
  server.child.kill('SIGTERM')
  t.match(await server.ended, { code: 0 })
})

/** Lays out the files of the pod's volumes below a folder. @returns the environment, with the paths of these files */
async function preparePod (
  folder: string, manifests: Manifest[], secrets: Record<string, string>, ca: string
): Promise<Record<string, string>> {
  const { spec } = manifests.find(({ kind }) => kind === 'Deployment')!.spec.template
  const { data } = manifests.find(({ kind, metadata: { name } }) =>
    kind === 'ConfigMap' && !name.endsWith('-dashboards'))!
  const environment = { ...data }
  for (const { name, mountPath } of spec.containers[0].volumeMounts as Array<{ name: string, mountPath: string }>) {
    const volume = spec.volumes.find((candidate: { name: string }) => candidate.name === name)
    const mounted = join(folder, mountPath)
    await mkdir(mounted, { recursive: true })
    if (name === 'extensions') await writeFile(join(mounted, 'hello.js'), EXTENSION)
    if (name === 'private-ca') await writeFile(join(mounted, volume.configMap.items[0].path), ca)
    if (name !== 'secrets') continue
    const { projected: { sources, defaultMode } } = volume
    for (const { secret: { items: [{ path }] } } of sources) {
      const file = join(mounted, path)
      await writeFile(file, secrets[path]!)
      await chmod(file, defaultMode)
      // As fsGroup does; only root can.
      if (process.getuid!() === 0) await chown(file, 0, spec.securityContext.fsGroup)
    }
  }
  for (const [name, value] of Object.entries(environment)) {
    if (/^\/(run|etc|extensions)/.test(value)) environment[name] = join(folder, value)
  }
  // The image has it in /app.
  await cp(join(BUNDLE, '..'), join(folder, 'dist'), { recursive: true })
  await cp(join(ROOT, 'package.json'), join(folder, 'package.json'))
  return environment
}

/** Runs Node.js as the pod's user, without capabilities, where this user may change to it and that one may run it. */
async function asUser1000 (script: string): Promise<string[]> {
  // Without the hooks that tap puts into NODE_OPTIONS.
  const node = ['env', '-u', 'NODE_OPTIONS', process.execPath]
  const start = [...node, '--enable-source-maps', '--disable-proto=delete', script]
  const change = [
    'setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all',
    '--no-new-privs'
  ]
  const can = await run(change[0]!, [...change.slice(1), ...node, '-e', '']).then(() => true, () => false)
  return can ? [...change, ...start] : start
}
