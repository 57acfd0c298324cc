import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { emptyFolder, startCommand } from '../support/process.ts'
import { PLAIN_REDIRECT_URI } from '../support/sign-in.ts'
import { BETTER_AUTH } from './better-auth.ts'
import type { RealClient } from './client.ts'
import { DJANGO } from './django.ts'
import { GLEWLWYD } from './glewlwyd.ts'
import { GO_CLIENTS } from './go-client.ts'
import { KEYCLOAK } from './keycloak.ts'
import { LEMONLDAP } from './lemonldap.ts'
import { renderProvider, writeSection } from './matrix.ts'
import type { Result } from './matrix.ts'
import { STRICT_OIDC_PROVIDER } from './oidc-provider.ts'
import { NPM_CLIENTS } from './npm-clients.ts'
import { PYTHON_CLIENTS } from './python-clients.ts'
import { RegistryUnreachable } from './provider.ts'
import type { Provider } from './provider.ts'
import { runScenario } from './scenario.ts'
import { SDK_CLIENTS } from './sdk-clients.ts'

/** `npm run providers`: see README.md. */
const PROVIDERS: Provider[] = [
  KEYCLOAK,
  GLEWLWYD,
  LEMONLDAP,
  BETTER_AUTH,
  STRICT_OIDC_PROVIDER,
  DJANGO
]
const CLIENTS: RealClient[] = [...SDK_CLIENTS, ...NPM_CLIENTS, ...PYTHON_CLIENTS, ...GO_CLIENTS]

const cache = process.env['SEED_PROVIDERS_CACHE'] ?? join(homedir(), '.cache/seed-providers')
const names = (process.env['SEED_PROVIDERS'] ?? '').split(' ').filter((name) => name !== '')
for (const name of names) {
  if (!PROVIDERS.some((provider) => provider.name === name)) {
    throw new Error(`There is no provider ${name}: ${PROVIDERS.map((provider) => provider.name).join(', ')}`)
  }
}

const clients: RealClient[] = []
for (const client of CLIENTS) {
  if (await isInstalled(client)) clients.push(client)
}

for (const provider of PROVIDERS) {
  if (names.length > 0 && !names.includes(provider.name)) continue
  await t.test(`${provider.title} ${provider.version}`, { timeout: 1_800_000 }, async (t) => {
    if (!await isInstalled(provider)) return
    const seedUrl = `http://127.0.0.1:${await freePort()}`
    const redirectUris = new Map<string, string>()
    for (const { name, redirectUri } of clients) {
      if (redirectUri !== undefined) redirectUris.set(name, redirectUri(await freePort()))
    }
    const running = await provider.start({
      cacheFolder: join(cache, provider.name),
      dataFolder: await emptyFolder(t),
      seedUrl,
      clientRedirectUris: [PLAIN_REDIRECT_URI, ...redirectUris.values()],
      spawn: (command, args, env, cwd) => startCommand(t, command, args, env, cwd)
    })
    t.teardown(async () => { await running.stop() })
    const results: Result[] = []
    for (const configuration of running.configurations) {
      await t.test(configuration.name, async (t) => {
        const column = await runScenario(t, {
          provider: running,
          configuration,
          clients: clients.filter(({ providers }) => providers?.includes(provider.name) ?? true),
          redirectUris,
          cache,
          seedUrl
        })
        results.push({ configuration, column })
      })
    }
    const section = renderProvider(provider, results)
    console.error(`\n${section}\n`)
    // Of a run in CI nothing is kept, and a server that did not start is no result.
    if (process.env['CI'] === undefined && results.length === running.configurations.length) {
      await writeSection(provider.name, section)
    }
  })
}

/** Installs; false, and a failure if CI is set, when no registry answers. */
async function isInstalled ({ name, install }: Pick<Provider | RealClient, 'name' | 'install'>): Promise<boolean> {
  if (install === undefined) return true
  try {
    const folder = join(cache, name)
    await mkdir(folder, { recursive: true })
    await install(folder)
    return true
  } catch (err) {
    if (!(err instanceof RegistryUnreachable)) throw err
    console.error(`${name} is left out: ${err.message}`)
    if (process.env['CI'] !== undefined) t.fail(`${name} is left out: ${err.message}`)
    return false
  }
}
