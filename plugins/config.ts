import fastifyEnv from '@fastify/env'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/config.ts'
import { findUnknownMounts } from '../src/config/endpoints.ts'
import { findComposeVariables, inspectConfig, loadConfig } from '../src/config/load.ts'
import type { ConfigInspection, Environment } from '../src/config/load.ts'
import type { ConfigError, Problem } from '../src/config/problem.ts'
import { EnvSchema } from '../src/config/schema.ts'
import type { Env } from '../src/config/schema.ts'
import { useProxy, withoutCredentials } from '../src/net/proxy.ts'

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

export interface ConfigOptions {
  /** Variables as in `process.env`; they take precedence over the file. */
  environment: Environment
  /** The `.env` file to read; none by default. */
  dotenvPath?: string | false | undefined
}

/**
 * Loads and shares the configuration. It is the first plugin: nothing else reads the environment.
 *
 * @throws ConfigError with every problem
 */
async function config (app: FastifyInstance, { environment, dotenvPath = false }: ConfigOptions): Promise<void> {
  const settings = await loadConfig(environment, dotenvPath, async (variables) => await coerce(app, variables))
  app.decorate('config', settings)
  app.log.level = settings.logLevel
  for (const { message } of findComposeVariables(environment, dotenvPath)) {
    app.log.warn({ event: 'config.compose_variable' }, message)
  }
  const { https, http, none: noProxy } = settings.proxy
  await useProxy(settings.proxy)
  if (https === undefined && http === undefined) return
  const proxies = { httpsProxy: withoutCredentials(https ?? http), httpProxy: withoutCredentials(http), noProxy }
  app.log.info({ event: 'config.proxy', ...proxies },
    'Requests to the provider, to trusted issuers and to mounted servers go through a proxy (HTTPS_PROXY, ' +
    'HTTP_PROXY, NO_PROXY); those for client metadata documents and to Redis do not')
}

/** Coerces variables to the schema, in a scope of its own: @fastify/env decorates it with all of them, secrets too. */
async function coerce (app: FastifyInstance, variables: Record<string, string>): Promise<Env> {
  const outcome: { env?: Env, failure?: Error | null } = {}
  await app.register(async (scope) => {
    scope.register(fastifyEnv, { schema: EnvSchema, data: variables, env: false, confKey: 'env' })
    scope.after((err) => { outcome.failure = err })
    await scope.after()
    if (!outcome.failure) outcome.env = scope.getEnvs<Env>()
  })
  if (outcome.failure) throw outcome.failure
  return outcome.env!
}

const plugin = fp(config, { name: 'config', fastify: '5.x' })
export default plugin

/** Returns the configuration without the settings that have a problem, and the problems, for `seed doctor`. */
export async function readConfigInspection (
  { environment, dotenvPath = false }: ConfigOptions
): Promise<ConfigInspection> {
  const outcome: { inspection?: ConfigInspection } = {}
  await Fastify().register(async (scope) => {
    const coerceHere = async (variables: Record<string, string>): Promise<Env> => await coerce(scope, variables)
    outcome.inspection = await inspectConfig(environment, dotenvPath, coerceHere)
  })
  const inspection = outcome.inspection!
  await useProxy(inspection.config.proxy)
  return { ...inspection, problems: [...inspection.problems, ...await findMountProblems(inspection)] }
}

/**
 * Returns what is wrong with the file of SEED_MOUNTS and the files that it names, and with the mounts of endpoints. No
 * server is asked.
 */
async function findMountProblems ({ config, problems }: ConfigInspection): Promise<readonly Problem[]> {
  const { mountsFile, endpoints, extensions } = config
  // A setting with a problem is left out of `config`. Extensions are not loaded here. Both may have the mounts that
  // endpoints name.
  const areAllKnown = extensions.length === 0 &&
    !problems.some(({ setting }) => setting === 'SEED_MOUNTS' || setting === 'SEED_EXTENSIONS')
  const findUnknown = (names: readonly string[]): readonly Problem[] =>
    areAllKnown ? findUnknownMounts(endpoints, names) : []
  if (mountsFile === undefined) return findUnknown([])
  const { readMounts } = await import('../src/mounts/settings/mounts-file.ts')
  try {
    return findUnknown(readMounts(mountsFile, config).map(({ name }) => name))
  } catch (err) {
    return (err as ConfigError).problems.map((message) => ({ setting: 'SEED_MOUNTS', message }))
  }
}

/** Returns the configuration without a server, for commands. */
export async function readConfig (options: ConfigOptions): Promise<Config> {
  const app = Fastify()
  await app.register(plugin, options)
  return app.config
}
