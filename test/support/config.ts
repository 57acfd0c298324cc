import type { Test } from 'tap'
import { readConfig } from '../../plugins/config.ts'
import type { Config } from '../../src/config/config.ts'
import type { Environment } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problem.ts'

/** The smallest configuration with sign-in. */
export const GOOD = { OIDC_ISSUER: 'https://auth.example.com/application/o/seed/', OIDC_AUDIENCE: 'seed-client' }

export const SECRET = 'a secret of thirty-two characters'
export const PEM = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----'

/** Returns the configuration of an environment. */
export async function loadConfig (environment: Environment, dotenvPath: string | false = false): Promise<Config> {
  return await readConfig({ environment, dotenvPath })
}

/** Returns the problems of a wrong configuration. */
export async function problemsOf (t: Test, environment: Environment): Promise<readonly string[]> {
  try {
    await loadConfig(environment)
  } catch (err) {
    if (err instanceof ConfigError) return err.problems
    throw err
  }
  t.fail('no problem was found', { environment })
  return []
}
