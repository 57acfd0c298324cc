import { existsSync, readFileSync } from 'node:fs'
import { toConfig } from './config.ts'
import type { Config } from './config.ts'
import type { EndpointsFile } from './endpoint-schema.ts'
import { ConfigError } from './problem.ts'
import type { Problem } from './problem.ts'
import { EnvSchema, PROXY_SETTINGS, SECRET_SETTINGS } from './schema.ts'
import type { Env } from './schema.ts'
import { validate } from './validate.ts'
import { readVariables } from './variables.ts'
import type { Environment, Variables } from './variables.ts'

export type { Environment } from './variables.ts'

const SETTINGS = Object.keys(EnvSchema.properties) as Array<keyof Env>

/** Coerces variables to EnvSchema; rejects with every error of Ajv, as `errors`. */
export type Coerce = (variables: Variables) => Promise<Env>

/**
 * Loads the configuration.
 *
 * @param environment an empty value counts as unset; these variables take precedence over the file
 * @param dotenvPath the `.env` file to read; false reads none, and a missing file is no error
 * @throws ConfigError with every problem
 */
export async function loadConfig (
  environment: Environment, dotenvPath: string | false, coerce: Coerce
): Promise<Config> {
  const { config, problems } = await inspectConfig(environment, dotenvPath, coerce)
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

/** The configuration, for a diagnosis that goes on in spite of problems. */
export interface ConfigInspection {
  /** Without the settings that have a problem. */
  config: Config
  problems: readonly Problem[]
  /** Problems that do not show here, and may elsewhere. */
  warnings: readonly Problem[]
  /** The values that must not be printed. */
  secrets: readonly string[]
}

/** Reads the configuration as `loadConfig` does, and returns its problems. */
export async function inspectConfig (
  environment: Environment, dotenvPath: string | false, coerce: Coerce
): Promise<ConfigInspection> {
  const { given, problems: unread } = readEnvironment(environment, dotenvPath)
  const unreadable = [...unread, ...checkQuoting(given), ...checkDotenv(environment, dotenvPath)]
  const { env, problems: invalid } = await parseEnvironment(given, coerce)
  // A setting that could not be read has a default or nothing in `env`, which would be judged in its place.
  const reported = new Set([...unreadable, ...invalid].map(({ setting }) => setting))
  const { entries, problems: inFile } = await readEndpoints(env)
  const judged = [...validate(env), ...inFile].filter(({ setting }) => !reported.has(setting))
  const problems = [...unreadable, ...invalid, ...judged]
  const secrets = SECRET_SETTINGS.map((setting) => given[setting]).filter((value) => value !== undefined)
  const warnings = findComposeVariables(environment, dotenvPath)
  if (problems.length === 0) return { config: toConfig(env, entries, environment), problems, warnings, secrets }
  const broken = new Set<string>(problems.map(({ setting }) => setting))
  const sound = Object.entries(given).filter(([name]) => !broken.has(name))
  const endpoints = broken.has('SEED_ENDPOINTS') ? {} : entries
  const soundEnv = await coerce(Object.fromEntries(sound))
  return { config: toConfig(soundEnv, endpoints, environment), problems, warnings, secrets }
}

/** Reads the file of SEED_ENDPOINTS. The parser of YAML is imported only where it is needed. */
async function readEndpoints (env: Env): Promise<{ entries: EndpointsFile, problems: Problem[] }> {
  if (env.SEED_ENDPOINTS === undefined) return { entries: {}, problems: [] }
  const { readEndpointsFile } = await import('./endpoints-file.ts')
  return readEndpointsFile(env.SEED_ENDPOINTS, env)
}

/** The variables that are set, with those that NAME_FILE gives. */
function readEnvironment (
  environment: Environment, dotenvPath: string | false
): { given: Variables, problems: Problem[] } {
  const given = readVariables(environment, dotenvPath)
  const problems: Problem[] = []
  for (const setting of PROXY_SETTINGS) {
    const value = given[setting] ?? given[setting.toLowerCase()]
    if (value !== undefined) given[setting] = value
  }
  for (const setting of SECRET_SETTINGS) {
    const path = given[`${setting}_FILE`]
    if (path === undefined) continue
    if (given[setting] !== undefined) {
      problems.push({ setting, message: `${setting} and ${setting}_FILE are both set: keep one of them` })
      continue
    }
    try {
      given[setting] = readFileSync(path, 'utf8').trim()
      if (given[setting] !== '') continue
      problems.push({ setting, message: `${setting}_FILE names an empty file: put the value into it` })
    } catch (err) {
      const { code } = err as NodeJS.ErrnoException
      const message = `${setting}_FILE cannot be read (${code}): set it to a file that Seed may read`
      problems.push({ setting, message })
    }
  }
  return { given, problems }
}

/**
 * Finds values that hold what was meant as notation: `docker run --env-file` passes quotes and comments on as they are,
 * while Node.js and Compose remove them.
 */
function checkQuoting (given: Variables): Problem[] {
  return SETTINGS.flatMap((setting) => {
    const value = given[setting] ?? ''
    if (/^(["'`]).*\1$/s.test(value) && value.length > 1) {
      const message = `${setting} is in quotes, which are part of the value (Docker passes them on): remove them`
      return [{ setting, message }]
    }
    if (!/\s#\s/.test(value)) return []
    const message = `${setting} contains a comment (" # "), which is part of the value: put it on its own line`
    return [{ setting, message }]
  })
}

/** Finds values in the file that Node.js cuts at a # and Docker does not: a secret would differ, and nobody be told. */
function checkDotenv (environment: Environment, path: string | false): Problem[] {
  if (path === false || !existsSync(path)) return []
  const cut = new Set([...readFileSync(path, 'utf8').matchAll(/^\s*([A-Z_]+)[ \t]*=[ \t]*(?:[^\s"'`#]\S*)?#\S/gm)]
    .map(([, name]) => name))
  return SETTINGS.filter((setting) => cut.has(setting) && (environment[setting] ?? '') === '').map((setting) => ({
    setting,
    message: `${setting} in ${path} contains a #, at which Node.js ends the value and Docker does not: ` +
      'choose a value without it, or put it into a file (NAME_FILE)'
  }))
}

/**
 * Finds values in the file that Docker Compose changes and Node.js does not: it takes `$word` and `${word}` for
 * variables, and `$$` for `$`, unless the value is in single quotes.
 */
export function findComposeVariables (environment: Environment, path: string | false): Problem[] {
  if (path === false || !existsSync(path)) return []
  const changed = new Set([...readFileSync(path, 'utf8').matchAll(/^\s*([A-Z_]+)[ \t]*=(?![ \t]*').*\$[\w{$]/gm)]
    .map(([, name]) => name))
  return SETTINGS.filter((setting) => changed.has(setting) && (environment[setting] ?? '') === '').map((setting) => ({
    setting,
    message: `${setting} in ${path} contains a $, which Docker Compose takes for a variable: with Compose the value ` +
      'would be another one than here. Choose a value without it, or put it into a file (NAME_FILE)'
  }))
}

/** Coerces each variable by itself. One that fails gets its default, so that the others can be judged. */
async function parseEnvironment (given: Variables, coerce: Coerce): Promise<{ env: Env, problems: Problem[] }> {
  try {
    return { env: await coerce(given), problems: [] }
  } catch (err) {
    const problems = (err as { errors: SchemaError[] }).errors.map((error) => toProblem(error, given))
    const invalid = new Set<string>(problems.map(({ setting }) => setting))
    const valid = Object.entries(given).filter(([name]) => !invalid.has(name))
    return { env: await coerce(Object.fromEntries(valid)), problems }
  }
}

interface SchemaError {
  instancePath: string
  keyword: string
  params: { allowedValues?: string[], type?: string, limit?: number }
}

function toProblem ({ instancePath, keyword, params }: SchemaError, given: Variables): Problem {
  const setting = instancePath.slice(1) as keyof Env
  return { setting, message: `${setting} must ${describe(keyword, params)} (it is "${given[setting]}")` }
}

function describe (keyword: string, { allowedValues, type, limit }: SchemaError['params']): string {
  switch (keyword) {
    case 'enum': return `be one of ${allowedValues!.join(', ')}`
    case 'minimum': return `be at least ${limit}`
    case 'maximum': return `be at most ${limit}`
    case 'maxLength': return `have at most ${limit} characters`
    default: return type === 'integer' ? 'be a whole number' : 'be true or false'
  }
}
