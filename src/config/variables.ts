import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

/** Environment variables as in `process.env`. */
export type Environment = Record<string, string | undefined>

/** Variables that are set. */
export type Variables = Record<string, string>

/** Returns the variables that are set, without judging them: those of the environment before those of the file. */
export function readVariables (environment: Environment, dotenvPath: string | false): Variables {
  return withoutEmpty({ ...readDotenv(dotenvPath), ...withoutEmpty(environment) })
}

function readDotenv (path: string | false): Environment {
  return path !== false && existsSync(path) ? parseEnv(readFileSync(path, 'utf8')) : {}
}

function withoutEmpty (environment: Environment): Variables {
  const trimmed = Object.entries(environment).map(([name, value = '']) => [name, value.trim()] as const)
  return Object.fromEntries(trimmed.filter(([, value]) => value !== ''))
}
