import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EnvSchema, SECRET_SETTINGS } from '../../src/config/schema.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { schemaProblems, typeProblems } from './kubernetes/check-manifests.ts'
import { kubernetesToolsForTests } from './kubernetes/tools.ts'
import type { KubernetesTools, Manifest } from './kubernetes/tools.ts'

/** The Helm chart and the kustomize base, with the real helm and kubectl. */

const CHART = join(ROOT, 'deploy/helm/seed')
const CI = join(CHART, 'ci')
const MINIMAL = join(CI, 'minimal-values.yaml')
const GATEWAY = join(CI, 'gateway-values.yaml')
const PRODUCTION = join(CI, 'production-values.yaml')

type Render = (values: string, ...args: string[]) => Promise<Manifest[]>

function createRender ({ helm, parse }: KubernetesTools): Render {
  return async (values, ...args) => {
    const { ok, stdout, stderr } = await helm('template', 'release', CHART, '--values', values, ...args)
    if (!ok) throw new Error(stderr)
    return parse(stdout)
  }
}

/** The first of a kind; of ConfigMaps, that of the environment. */
const ofKind = (manifests: Manifest[], kind: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && !manifest.metadata.name.endsWith('-dashboards'))!

/** The names of all environment variables that a pod gets from a Deployment and its ConfigMap. */
function environmentNames (manifests: Manifest[]): string[] {
  const { env = [] } = ofKind(manifests, 'Deployment').spec.template.spec.containers[0]
  return [...Object.keys(ofKind(manifests, 'ConfigMap').data!), ...env.map(({ name }: { name: string }) => name)]
}

t.test('the chart has the version of Seed', async (t) => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  t.match(await readFile(join(CHART, 'Chart.yaml'), 'utf8'), `\nappVersion: ${version}\n`)
})

t.test('the chart', async (t) => {
  const tools = await kubernetesToolsForTests(t)
  if (!tools) return
  const render = createRender(tools)
  const files = (await readdir(CI)).map((name) => join(CI, name))
  const all = (await Promise.all(files.map(async (file) => await render(file)))).flat()
  // A tool's own, and what Node.js reads.
  const ownEnv = ['TICKETS_API_TOKEN', 'NODE_EXTRA_CA_CERTS']

  t.test('passes helm lint --strict with the values of each shape', async (t) => {
    for (const file of files) {
      const { ok, stdout } = await tools.helm('lint', '--strict', CHART, '--values', file)
      t.ok(ok, stdout)
    }
  })

  t.test('makes objects as Kubernetes wants them', async (t) => {
    t.same(await schemaProblems(tools, all), [])
    const folder = await emptyFolder(t)
    t.same(await typeProblems(tools, all, join(folder, 'manifests.mts')), [])
    const [first] = all.filter(({ kind }) => kind === 'Deployment')
    const misspelt = JSON.parse(JSON.stringify(first).replace('readinessProbe', 'readynessProbe'))
    t.match(await typeProblems(tools, [misspelt], join(folder, 'misspelt.mts')), [/readynessProbe/])
    const wrong = JSON.parse(JSON.stringify(first).replace('"containerPort":3000', '"containerPort":"3000"'))
    t.match(await schemaProblems(tools, [wrong]), [/containerPort/])
  })

  t.test('sets no environment variable that Seed does not know', async (t) => {
    const known = [...Object.keys(EnvSchema.properties), ...SECRET_SETTINGS.map((name) => `${name}_FILE`), ...ownEnv]
    for (const file of files) {
      const unknown = environmentNames(await render(file)).filter((name) => !known.includes(name))
      t.same(unknown, [], file)
    }
  })

  t.test('refuses misspelt values, nested ones too, and values of the wrong type', async (t) => {
    for (const [setting, expected] of [
      ['replica=3', /replica/],
      ['settings.OIDC_ISUER=x', /OIDC_ISUER/],
      ['settings.SEED_SECRET=x', /SEED_SECRET/],
      ['settings.ACCESS_TOKEN_TTL=5', /ACCESS_TOKEN_TTL/],
      ['settings.OAUTH_MODE=brocker', /OAUTH_MODE/],
      ['secretFiles.REDIS_URL.name=seed', /REDIS_URL/],
      ['ingress.enable=true', /enable/],
      ['autoscaling.minReplica=3', /minReplica/],
      ['metrics.serviceMonitor.intervall=1m', /intervall/],
      ['shutdown.delaySeconds=soon', /delaySeconds/],
      ['networkPolicy.ingressFrom[0].podSelektor.a=b', /podSelektor/]
    ] as const) {
      const { ok, stderr } = await tools.helm('template', 'release', CHART, '--values', MINIMAL, '--set', setting)
      t.notOk(ok, setting)
      t.match(stderr, expected)
    }
  })

  t.test('refuses values that cannot work together, and says what to change', async (t) => {
    for (const [values, settings, expected] of [
      [MINIMAL, 'baseUrl=', /baseUrl is required/],
      [MINIMAL, 'baseUrl=http://seed.example.com', /must be https/],
      [MINIMAL, 'baseUrl=https://example.com/seed?x', /must not have a query/],
      [MINIMAL, 'baseUrl=https://example.com/seed/mcp', /must be like/],
      [MINIMAL, 'baseUrl=https://example.com/a%20b', /must be like/],
      [MINIMAL, 'replicas=2', /needs secretFiles.REDIS_URL/],
      [MINIMAL, 'autoscaling.enabled=true', /needs secretFiles.REDIS_URL/],
      [MINIMAL, 'replicas=2,secretFiles.REDIS_URL.secret=a,secretFiles.REDIS_URL.key=b', /needs secretFiles.SEED_SECRET/],
      [MINIMAL, 'secretFiles.REDIS_URL.secret=a,secretFiles.REDIS_URL.key=b', /needs secretFiles.SEED_SECRET/],
      [MINIMAL, 'settings.OIDC_ISSUER=', /settings.OIDC_ISSUER is required/],
      [MINIMAL, 'settings.OIDC_CLIENT_ID=', /needs settings.OIDC_CLIENT_ID/],
      [MINIMAL, 'settings.OAUTH_MODE=proxy', /needs settings.OIDC_AUDIENCE/],
      [MINIMAL, 'secretFiles.OIDC_CLIENT_KEY.secret=a,secretFiles.OIDC_CLIENT_KEY.key=b', /keep one/],
      [MINIMAL, 'extensions.configMap=a,settings.SEED_EXTENSIONS=/b', /keep one/],
      [MINIMAL, 'terminationGracePeriodSeconds=29', /at least .* = 30/],
      [MINIMAL, 'ingress.enabled=true', /TRUST_PROXY is required/],
      [GATEWAY, 'settings.AUTH_REQUIRED=false', /would let everyone call the tools/],
      [GATEWAY, 'ingress.enabled=true', /keep one/],
      [GATEWAY, 'httpRoute.parentRefs=null', /parentRefs is required/],
      [GATEWAY, 'networkPolicy.ingressFrom=null', /ingressFrom is required/],
      [GATEWAY, 'autoscaling.enabled=true,autoscaling.minReplicas=7', /minReplicas is more than/],
      [GATEWAY, 'podDisruptionBudget.minAvailable=2', /no node can be drained/],
      [MINIMAL, 'metrics.serviceMonitor.enabled=true', /needs metrics.enabled/],
      [MINIMAL, 'metrics.enabled=true,metrics.port=3000', /must not be 3000/],
      [MINIMAL, 'extraEnv[0].name=OIDC_ISSUER,extraEnv[0].value=x', /extraEnv must not contain OIDC_ISSUER/]
    ] as const) {
      const { ok, stderr } = await tools.helm('template', 'release', CHART, '--values', values, '--set', settings)
      t.notOk(ok, settings)
      t.match(stderr, expected)
    }
  })

  t.test('runs pods that Pod Security "restricted" admits, without a token or a secret in the environment', async (t) => {
    for (const file of files) {
      const { spec } = ofKind(await render(file), 'Deployment').spec.template
      t.match(spec, {
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: { runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: { type: 'RuntimeDefault' } },
        containers: [{
          securityContext: {
            allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] }
          }
        }]
      })
      for (const volume of spec.volumes) {
        t.ok(['emptyDir', 'projected', 'configMap'].includes(Object.keys(volume).find((key) => key !== 'name')!))
        if (volume.projected !== undefined) t.equal(volume.projected.defaultMode, 0o440)
      }
    }
    const data = ofKind(await render(PRODUCTION), 'ConfigMap').data!
    t.same(SECRET_SETTINGS.filter((name) => name in data), [])
    t.equal(data['REDIS_URL_FILE'], '/run/secrets/seed/REDIS_URL')
    t.equal(data['SESSIONS_TOTAL'], '5000000', 'large numbers as digits')
    t.same(JSON.parse(data['ACCESS_GROUPS']!), ['cn=eng,ou=groups,dc=example', 'mcp-users'])
  })

  t.test('gives a replica the time that its settings need to stop', async (t) => {
    const seconds = async (...args: string[]): Promise<number> =>
      ofKind(await render(MINIMAL, ...args), 'Deployment').spec.template.spec.terminationGracePeriodSeconds
    t.equal(await seconds(), 8 + 15 + 7 + 5)
    t.equal(await seconds('--set', 'shutdown.graceSeconds=600'), 8 + 600 + 7 + 5)
    t.equal(await seconds('--set', 'terminationGracePeriodSeconds=30'), 30)
  })

  t.test('starts new pods when a setting changes', async (t) => {
    const checksum = async (...args: string[]): Promise<string> =>
      ofKind(await render(MINIMAL, ...args), 'Deployment').spec.template.metadata.annotations['checksum/config']
    t.equal(await checksum(), await checksum())
    t.not(await checksum(), await checksum('--set', 'settings.LOG_LEVEL=debug'))
  })

  t.test('makes the paths of Seed public, and neither health nor metrics', async (t) => {
    const ingress = ofKind(await render(PRODUCTION), 'Ingress')
    const paths = ingress.spec.rules[0].http.paths.map(({ path }: { path: string }) => path)
    const route = ofKind(await render(GATEWAY), 'HTTPRoute')
    t.same(route.spec.rules[0].matches.map(({ path }: { path: { value: string } }) => path.value), paths)
    t.same(paths, ['/', '/mcp', '/oauth', '/connections', '/.well-known', '/authorize', '/token', '/register', '/revoke'])
    t.same(route.spec.hostnames, ['seed.example.com'])
    t.match(ingress.metadata.annotations, {
      'nginx.ingress.kubernetes.io/proxy-buffering': 'off',
      'nginx.ingress.kubernetes.io/proxy-read-timeout': '3600'
    })
    const services = (await render(PRODUCTION)).filter(({ kind }) => kind === 'Service')
    const names = services.map(({ spec }) => spec.ports.map(({ name }: { name: string }) => name))
    t.same(names.sort(), [['http'], ['metrics']])
  })

  t.test('makes what is below a path of baseUrl public, with the documents about it, and nothing else of the host',
    async (t) => {
      const below = ['--set', 'baseUrl=https://example.com/seed/']
      const paths = ofKind(await render(PRODUCTION, ...below), 'Ingress').spec.rules[0].http.paths
        .map(({ path }: { path: string }) => path)
      t.same(paths, [
        '/seed', '/.well-known/oauth-protected-resource/seed', '/.well-known/oauth-authorization-server/seed',
        '/.well-known/openid-configuration/seed'
      ])
      const route = ofKind(await render(GATEWAY, ...below), 'HTTPRoute')
      t.same(route.spec.rules[0].matches.map(({ path }: { path: { value: string } }) => path.value), paths)
      t.same(route.spec.hostnames, ['example.com'])
      const { stdout } = await tools.helm('install', 'release', CHART, '--values', MINIMAL, '--dry-run=client', ...below)
      t.match(stdout, 'Route /seed, /.well-known/oauth-protected-resource/seed,')
      t.match(stdout, 'seed https://example.com/seed/mcp')
    })

  t.test('lets Prometheus scrape from another pod, on the addresses of the server', async (t) => {
    const metricsHost = async (values: string, ...args: string[]): Promise<string | undefined> =>
      ofKind(await render(values, ...args), 'ConfigMap').data!['METRICS_HOST']
    t.equal(await metricsHost(PRODUCTION), '0.0.0.0')
    t.equal(await metricsHost(PRODUCTION, '--set', 'settings.HOST=::'), '::')
    t.equal(await metricsHost(PRODUCTION, '--set', 'settings.METRICS_HOST=127.0.0.1'), '127.0.0.1')
    t.equal(await metricsHost(MINIMAL), undefined)
  })

  t.test('brings the dashboard for Grafana, as it is', async (t) => {
    const dashboards = (await render(PRODUCTION)).find(({ metadata }) => metadata.labels!['grafana_dashboard'] === '1')
    const shipped = await readFile(join(ROOT, 'deploy/grafana/seed.json'), 'utf8')
    t.same(JSON.parse(dashboards!.data!['seed.json']!), JSON.parse(shipped))
  })

  t.test('replaces replicas without a gap, and scales down late', async (t) => {
    const manifests = await render(PRODUCTION)
    const { spec } = ofKind(manifests, 'Deployment')
    t.same(spec.strategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 })
    t.notOk('replicas' in spec, 'the autoscaler has the say')
    t.match(ofKind(manifests, 'HorizontalPodAutoscaler').spec.behavior.scaleDown, {
      stabilizationWindowSeconds: 900, policies: [{ type: 'Pods', value: 1 }]
    })
    t.match(ofKind(manifests, 'PodDisruptionBudget').spec, { minAvailable: 2 })
    t.equal(ofKind(await render(MINIMAL), 'PodDisruptionBudget'), undefined, 'a single replica may be evicted')
  })

  t.test('spreads replicas over zones and nodes', async (t) => {
    const { topologySpreadConstraints: constraints } = ofKind(await render(PRODUCTION), 'Deployment').spec.template.spec
    t.match(constraints, [
      { topologyKey: 'topology.kubernetes.io/zone' }, { topologyKey: 'kubernetes.io/hostname' }
    ])
  })

  t.test('says after the installation what to do next, and what is missing', async (t) => {
    const notes = async (values: string): Promise<string> => {
      const { ok, stdout, stderr } = await tools.helm('install', 'release', CHART, '--dry-run=client', '--values', values)
      t.ok(ok, stderr)
      return stdout.slice(stdout.indexOf('NOTES:'))
    }
    const minimal = await notes(MINIMAL)
    t.match(minimal, 'exec deployment/release-seed -- seed doctor')
    t.match(minimal, 'https://seed.example.com/oauth/callback')
    t.match(minimal, /Neither ingress nor httpRoute is enabled[^]*There is no Redis/)
    t.notMatch(await notes(PRODUCTION), /Neither ingress|There is no Redis/)
  })

  t.test('is packaged without the values of these tests', async (t) => {
    const folder = await emptyFolder(t)
    t.match(await tools.helm('package', CHART, '--destination', folder), { ok: true })
    const [name] = await readdir(folder)
    const values = ['--values', MINIMAL]
    t.match(await tools.helm('template', 'release', join(folder, name!), ...values), { ok: true })
  })
})

t.test('the kustomize base', async (t) => {
  const tools = await kubernetesToolsForTests(t)
  if (!tools) return
  const build = async (folder: string): Promise<Manifest[]> => {
    const { ok, stdout, stderr } = await tools.kubectl('kustomize', join(ROOT, 'deploy/kustomize', folder))
    t.ok(ok, stderr)
    return tools.parse(stdout)
  }
  for (const folder of ['base', 'example']) {
    t.test(`${folder}: objects as Kubernetes wants them, and no variable that Seed does not know`, async (t) => {
      const manifests = await build(folder)
      t.same(await schemaProblems(tools, manifests), [])
      t.same(await typeProblems(tools, manifests, join(await emptyFolder(t), 'manifests.mts')), [])
      const known = [...Object.keys(EnvSchema.properties), ...SECRET_SETTINGS.map((name) => `${name}_FILE`)]
      t.same(environmentNames(manifests).filter((name) => !known.includes(name)), [])
    })
  }

  t.test('runs the pods that the chart runs', async (t) => {
    const charts = ofKind(await createRender(tools)(GATEWAY, '--set', 'shutdown.delaySeconds=8,shutdown.graceSeconds=15'), 'Deployment').spec
    const { spec } = ofKind(await build('base'), 'Deployment')
    const [container, expected] = [spec.template.spec.containers[0], charts.template.spec.containers[0]]
    for (const key of ['securityContext', 'resources', 'startupProbe', 'livenessProbe', 'readinessProbe', 'ports']) {
      t.same(container[key], expected[key], key)
    }
    t.same(spec.strategy, charts.strategy)
    t.equal(spec.replicas, charts.replicas)
    for (const key of [
      'securityContext', 'terminationGracePeriodSeconds', 'automountServiceAccountToken', 'enableServiceLinks'
    ]) t.same(spec.template.spec[key], charts.template.spec[key], key)
  })
})
