import { randomBytes } from 'node:crypto'
import { isLoopbackHost } from '../src/net/addresses.ts'
import type { Environment } from '../src/config/variables.ts'
import { DEFAULTS, providerSettings, startProvider, untilReady, welcome } from './development.ts'

/** Settings that would be about another provider, or another store. */
const OF_PRODUCTION = /^(OIDC_|OAUTH_(?!MODE$)|ACCESS_|REDIS_|SEED_SECRET|TRUST_PROXY$|AUTH_REQUIRED$)/

/**
 * Runs `seed demo`: the server with the in-memory store next to the development provider. Everybody knows the
 * passwords, so both listen on this machine only.
 *
 * @param environment other settings than those of a provider and of Redis apply
 * @param serve as src/serve.ts has it: the bundle has this module apart from the server
 * @returns whether it listens; what prevents the start is printed
 */
export async function startDemo (
  environment: Environment,
  serve: (environment: Environment, dotenvPath: false) => Promise<boolean>,
  print: (text: string) => void
): Promise<boolean> {
  const { HOST: host = 'localhost', PORT: port = '3000', DEV_PROVIDER_PORT: providerPort = '3001' } = environment
  const { BASE_URL: baseUrl = `http://localhost:${port}` } = environment
  for (const [setting, hostname] of [['HOST', host], ['BASE_URL', hostnameOf(baseUrl)]] as const) {
    if (isLoopbackHost(hostname)) continue
    throw new Error('Everybody knows the passwords of the demo, so it runs on this machine only: remove ' +
      `${setting} (it is "${environment[setting]}"), or set up a provider and use seed serve`)
  }
  const provider = await startProvider(providerPort)
  const others = Object.entries(environment).filter(([name]) => !OF_PRODUCTION.test(name))
  const hasStarted = await serve({
    ...DEFAULTS,
    LOG_LEVEL: 'error',
    OAUTH_MODE: 'broker',
    ...Object.fromEntries(others),
    HOST: host,
    // Mounts with identity.assertion need one. It may change at each start, as nothing outlives the in-memory store.
    SEED_SECRET: randomBytes(32).toString('base64url'),
    ...providerSettings(provider)
  }, false)
  if (hasStarted) {
    await untilReady(baseUrl)
    print(welcome(`${baseUrl}/mcp`, provider, 'npx seed-mcp-server'))
  } else {
    await provider.close()
  }
  return hasStarted
}

function hostnameOf (url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : url
}
