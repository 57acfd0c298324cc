import { fileURLToPath } from 'node:url'
import type { Kind } from './messages.ts'

/** One process to start. More than one kind of traffic may be measured at it. */
export interface ServerSpec {
  name: string
  /** Arguments of node: flags, and the script. */
  args: string[]
  env: Record<string, string>
  redis?: boolean
  /** Answers 200 once it can verify tokens. */
  ready?: string
}

/** A row of the comparison. */
export interface Target {
  name: string
  label: string
  server: ServerSpec
  kind: Kind
  tools: number
  /** The bare route, which ratios are of. */
  base?: boolean
  /** A server that others would use in Seed's place. */
  peer?: boolean
  /** Verifies tokens. */
  authenticated: boolean
}

/** The part of every server's environment that is about the provider. */
export interface ProviderEnv {
  ISSUER: string
  AUDIENCE: string
  JWKS_URI: string
}

const compiled = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
/** Peers run from the source tree, where their packages are: .bench/bench is two folders below the root. */
export const PEERS = fileURLToPath(new URL('../../bench/peers/', import.meta.url))
/** The flags of `npm start`. */
export const SEED_FLAGS = ['--enable-source-maps', '--disable-proto=delete']
/** Seed with the tools of the benchmark. */
export const SEED_SCRIPT = compiled('./servers/seed.js')
/** Seed with its own: what `npm start` starts, after `npm run build`. */
export const SHIPPED_SCRIPT = compiled('../../dist/src/server.js')
export const TOOLS = 20

export function bareServer (name: string, provider: ProviderEnv, env: Record<string, string> = {}): ServerSpec {
  return { name, args: [compiled('./servers/bare.js')], env: { ...provider, ...env } }
}

/** Limits are on, and too high to be met. Nothing else differs from what is shipped. */
export function seedServer (
  name: string,
  { ISSUER, AUDIENCE }: ProviderEnv,
  env: Record<string, string> = {}
): ServerSpec {
  return {
    name,
    args: [...SEED_FLAGS, SEED_SCRIPT],
    ready: '/health/ready',
    env: {
      OIDC_ISSUER: ISSUER,
      OIDC_AUDIENCE: AUDIENCE,
      OAUTH_MODE: 'proxy',
      CIMD_ENABLED: 'false',
      SEED_SECRET: 'a secret of the benchmark, which nobody else has',
      MCP_LIMIT_PER_ADDRESS: '1000000000',
      MCP_LIMIT_PER_PRINCIPAL: '1000000000',
      MCP_LIMIT_REFUSED: '1000000000',
      CALLS_PER_PRINCIPAL: '1000',
      LOG_LEVEL: 'silent',
      BENCH_TOOLS: String(TOOLS),
      ...env
    }
  }
}

function peerServer (name: string, script: string, provider: ProviderEnv, env: Record<string, string>): ServerSpec {
  return { name, args: [`${PEERS}${script}`], env: { ...provider, ...env } }
}

/**
 * @param builds other builds of Seed to measure beside this one, by name: their folders
 * @param flags other settings of Node's to measure Seed with, each a row
 */
export function callTargets (
  provider: ProviderEnv,
  builds: ReadonlyMap<string, string>,
  flags: readonly string[] = []
): Target[] {
  const bares = ['bare-a', 'bare-b'].map((name) => bareServer(name, provider))
  const bare = (server: ServerSpec, kind: Kind): Target => ({
    name: kind === 'modern' ? server.name : `${server.name}-2025`,
    label: `bare Fastify 5 route${kind === 'modern' ? '' : ', a 2025 request'}`,
    server,
    kind,
    tools: 0,
    base: true,
    authenticated: false
  })
  const checked = (name: string, label: string, check: string): Target => ({
    name,
    label,
    server: bareServer(name, provider, { BENCH_CHECK: check }),
    kind: 'modern',
    tools: 0,
    authenticated: true
  })
  const seed = (name: string, label: string, kind: Kind, server: ServerSpec): Target => ({
    name,
    label,
    server,
    kind,
    tools: TOOLS,
    authenticated: true
  })
  const peer = (name: string, label: string, kind: Kind, script: string, env: Record<string, string>): Target => ({
    name, label, server: peerServer(name, script, provider, env), kind, tools: Number(env['TOOLS']), authenticated: true
  })

  /** All with the token cache: what is compared is the server, not the verification. */
  const other = (name: string, label: string, kind: Kind, script: string): Target => ({
    ...peer(name, label, kind, script, {
      CHECK: 'cache',
      TOOLS: String(TOOLS),
      ...(kind !== 'modern' && { MODE: kind })
    }),
    peer: true
  })

  const silent = seedServer('seed', provider)
  return [
    ...bares.flatMap((server) => [bare(server, 'modern'), bare(server, 'stateless')]),
    checked('bare-cache', 'bare route, tokens verified once (cache)', 'cache'),
    checked('bare-jose', 'bare route, jose on each request', 'jose'),

    seed('seed', 'Seed', 'modern', silent),
    seed(
      'seed-log',
      'Seed as shipped, with its log line',
      'modern',
      seedServer('seed-log', provider, { LOG_LEVEL: 'info' })
    ),
    seed(
      'seed-metrics',
      'Seed with METRICS_PORT',
      'modern',
      seedServer('seed-metrics', provider, { METRICS_PORT: '0' })
    ),
    seed('seed-session', 'Seed, a 2025 session', 'session', silent),
    seed('seed-session-redis', 'Seed, a 2025 session, Redis', 'session', {
      ...seedServer('seed-session-redis', provider),
      redis: true
    }),
    ...[...builds].map(([name, folder]) =>
      seed(name, `Seed (${folder})`, 'modern', seedServer(name, provider, { BENCH_SEED: folder }))
    ),
    ...[...builds].map(([name, folder]) =>
      seed(
        `${name}-session`,
        `Seed (${folder}), a 2025 session`,
        'session',
        seedServer(`${name}-session`, provider, { BENCH_SEED: folder })
      )
    ),
    ...flags.map((given) =>
      seed(`seed${given}`, `Seed, node ${given}`, 'modern', {
        ...silent,
        name: `seed${given}`,
        args: [...given.split(' '), ...silent.args]
      })
    ),

    peer('recipe', "SDK's recipe on Fastify, token cache", 'modern', 'recipe.mjs', { CHECK: 'cache', TOOLS: '1' }),
    peer('recipe-jose', "SDK's recipe on Fastify, jose per request", 'modern', 'recipe.mjs', {
      CHECK: 'jose',
      TOOLS: '1'
    }),
    peer('recipe-20', "SDK's recipe on Fastify, token cache, 20 tools", 'modern', 'recipe.mjs', {
      CHECK: 'cache',
      TOOLS: '20'
    }),
    peer('recipe-20-jose', "SDK's recipe on Fastify, jose per request, 20 tools", 'modern', 'recipe.mjs', {
      CHECK: 'jose',
      TOOLS: '20'
    }),

    other('fastmcp', 'fastmcp, a 2025 session', 'session', 'fastmcp.mjs'),
    other('fastmcp-stateless', 'fastmcp, stateless', 'stateless', 'fastmcp.mjs'),
    other('hono-mcp', '@hono/mcp, a 2025 session', 'session', 'hono-mcp.mjs'),
    other('hono-mcp-stateless', '@hono/mcp, stateless', 'stateless', 'hono-mcp.mjs'),
    other('mcp-handler', 'mcp-handler', 'modern', 'mcp-handler.mjs'),
    other('express-v1', 'Express with SDK v1, a 2025 session', 'session', 'express-v1.mjs'),
    other('express-v1-stateless', 'Express with SDK v1, stateless', 'stateless', 'express-v1.mjs'),
    other('express-v2', 'Express with SDK v2', 'modern', 'express-v2.mjs'),
    other('fastify-mcp', 'fastify-mcp, a 2025 session', 'session', 'fastify-mcp.mjs'),
    other('fastify-mcp-stateless', 'fastify-mcp, stateless', 'stateless', 'fastify-mcp.mjs')
  ]
}
