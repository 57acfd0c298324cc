import { generateKeyPairSync } from 'node:crypto'
import type { Test } from 'tap'
import { readConfig } from '../../plugins/config.ts'
import type { Config } from '../../src/config/config.ts'
import type { Environment } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problem.ts'

/** The smallest configuration with sign-in. */
export const GOOD = { OIDC_ISSUER: 'https://auth.example.com/application/o/seed/', OIDC_AUDIENCE: 'seed-client' }

export const SECRET = 'a secret of thirty-two characters'
export const PEM = keyOf('P-256')

/** A private key in PEM form (PKCS #8). */
export function keyOf (type: 'P-256' | 'P-384' | 'Ed25519' | 'RSA'): string {
  const { privateKey } = type === 'Ed25519'
    ? generateKeyPairSync('ed25519')
    : type === 'RSA' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: type })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString().trim()
}

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
