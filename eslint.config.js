import { dirname, posix } from 'node:path'
import neostandard, { plugins } from 'neostandard'

/**
 * The architecture: what each folder may import, from the bottom up. A folder imports only what stands above it here,
 * so no arrow runs back; `npm run lint` also finds circles inside a folder (.dependency-cruiser.js). What is not in the
 * table may import nothing of Seed. Packages in FENCED need a mention as well; all others are free.
 */
const MAY_IMPORT = {
  // Helpers that know nothing of Seed. Every folder may import them.
  'src/errors': [],
  'src/async': [],
  'src/json': [],
  'src/logging/events.ts': [],
  'src/logging/log.ts': ['src/logging/events.ts'],
  'src/oauth/protocol/grant-types.ts': [],

  // Foundations
  'src/net': [],
  'src/schemas': [],
  'src/crypto': [],
  'src/provider-presets': [],
  'src/config': ['src/net', 'src/provider-presets', 'yaml'],
  'src/store': ['src/config', 'ioredis'],
  'src/audit': ['src/config', 'src/crypto', 'src/store'],

  // Identity: the provider, access tokens, who may use what
  'src/provider': ['src/config', 'src/net', 'src/provider-presets', 'jose', 'oauth4webapi'],
  'src/workloads': ['src/config', 'src/net', 'src/provider', 'jose'],
  'src/tokens': ['src/config', 'src/crypto', 'src/provider', 'src/schemas', 'src/store', 'src/workloads', 'jose'],
  'src/trace': ['src/crypto', 'src/net', 'src/store'],
  'src/define': ['src/tokens', '@modelcontextprotocol'],
  'src/policy': ['src/define', 'src/tokens'],
  'src/limits': ['src/config', 'src/crypto', 'src/net', 'src/store'],

  'src/telemetry': ['src/net', 'src/store', '@opentelemetry'],

  // The authorization server
  'src/oauth/protocol': ['src/net'],
  'src/oauth/clients': [
    'src/config', 'src/crypto', 'src/net', 'src/oauth/protocol', 'src/provider', 'src/schemas', 'src/store',
    'src/trace', 'jose'
  ],
  'src/oauth/modes': [
    'src/config', 'src/crypto', 'src/net', 'src/oauth/clients', 'src/oauth/protocol', 'src/provider', 'src/schemas',
    'src/store', 'src/trace'
  ],
  'src/oauth/endpoints': [
    'src/config', 'src/crypto', 'src/net', 'src/oauth/clients', 'src/oauth/modes', 'src/oauth/protocol', 'src/provider',
    'src/schemas', 'src/store', 'src/trace', 'jose'
  ],
  'src/oauth/modes/proxy': [
    'src/audit', 'src/config', 'src/crypto', 'src/oauth/clients', 'src/oauth/modes', 'src/oauth/protocol',
    'src/provider', 'src/schemas', 'src/store', 'src/tokens', 'src/trace'
  ],
  'src/oauth/modes/broker': [
    'src/audit', 'src/config', 'src/crypto', 'src/oauth/clients', 'src/oauth/modes', 'src/oauth/protocol',
    'src/provider', 'src/schemas', 'src/store', 'src/tokens', 'src/trace', 'src/workloads', 'jose', 'oauth4webapi'
  ],

  // The MCP engine
  'src/mcp/exchange.ts': ['src/define', 'src/tokens'],
  'src/mcp/revisions.ts': ['@modelcontextprotocol'],
  'src/mcp/cluster': ['src/crypto', 'src/store', '@modelcontextprotocol'],
  'src/mcp/sessions': ['src/crypto', 'src/mcp/cluster', 'src/store', '@modelcontextprotocol'],
  'src/mcp/handlers': [
    'src/crypto', 'src/define', 'src/mcp/cluster', 'src/mcp/exchange.ts', 'src/mcp/sessions', 'src/store', 'src/tokens',
    '@modelcontextprotocol'
  ],
  'src/mcp/catalog': ['src/define', 'src/mcp/handlers', 'src/policy', 'src/tokens', '@modelcontextprotocol'],
  'src/mcp/step-up-challenge.ts': [
    'src/define', 'src/mcp/catalog', 'src/mcp/sessions', 'src/policy', 'src/tokens'
  ],
  'src/mcp/streams': [
    'src/crypto', 'src/define', 'src/mcp/cluster', 'src/mcp/exchange.ts', 'src/mcp/revisions.ts', 'src/mcp/sessions',
    'src/store', '@modelcontextprotocol'
  ],
  'src/mcp/fast-path': [
    'src/mcp/catalog', 'src/mcp/exchange.ts', 'src/mcp/handlers', 'src/mcp/revisions.ts', 'src/mcp/sessions',
    '@modelcontextprotocol'
  ],
  'src/mcp/eras': [
    'src/crypto', 'src/mcp/catalog', 'src/mcp/cluster', 'src/mcp/exchange.ts', 'src/mcp/fast-path', 'src/mcp/handlers',
    'src/mcp/revisions.ts', 'src/mcp/step-up-challenge.ts', 'src/mcp/sessions', 'src/mcp/streams',
    '@modelcontextprotocol'
  ],
  'src/mcp/engine-services.ts': [
    'src/crypto', 'src/define', 'src/mcp/catalog', 'src/mcp/cluster', 'src/mcp/sessions', 'src/store',
    '@modelcontextprotocol'
  ],
  'src/mcp/engine.ts': [
    'src/crypto', 'src/define', 'src/mcp/catalog', 'src/mcp/cluster', 'src/mcp/engine-services.ts', 'src/mcp/eras',
    'src/mcp/exchange.ts', 'src/mcp/fast-path', 'src/mcp/handlers', 'src/mcp/revisions.ts',
    'src/mcp/step-up-challenge.ts', 'src/mcp/sessions', 'src/mcp/streams', 'src/policy', 'src/store',
    '@modelcontextprotocol'
  ],

  'src/connections': [
    'src/config', 'src/mcp/sessions', 'src/oauth/clients', 'src/oauth/modes/broker', 'src/store', 'src/tokens'
  ],

  'src/selection': ['src/config', 'src/define'],

  // MCP servers that are offered as one's own
  'src/mounts/pins': [],
  'src/mounts/settings': [
    'src/config', 'src/define', 'src/mounts/pins', 'src/net', 'src/policy', 'src/selection', 'src/tokens',
    '@modelcontextprotocol'
  ],
  // Extensions import these two.
  'src/mounts/settings/mount-schema.ts': ['src/config'],
  'src/mounts/settings/define-mount.ts': ['src/mounts/settings/mount-schema.ts'],
  'src/mounts/caller': ['src/define', 'src/mcp/handlers', 'src/mounts/settings', 'src/tokens', '@modelcontextprotocol'],
  'src/mounts/process-group.ts': [],
  'src/mounts/group-memory.ts': [],
  'src/mounts/watchdog.ts': ['src/mounts/group-memory.ts', 'src/mounts/process-group.ts'],
  'src/mounts/watchdog-process.ts': [],
  'src/mounts/transport': [
    'src/define', 'src/mounts/caller', 'src/mounts/process-group.ts', 'src/mounts/settings',
    'src/mounts/watchdog-process.ts', 'src/net', '@modelcontextprotocol'
  ],
  'src/mounts/connection': [
    'src/define', 'src/mounts/caller', 'src/mounts/settings', 'src/mounts/transport', 'src/net', '@modelcontextprotocol'
  ],
  'src/mounts/server': [
    'src/crypto', 'src/define', 'src/limits', 'src/mcp/cluster', 'src/mcp/handlers', 'src/mounts/caller',
    'src/mounts/connection', 'src/mounts/settings', 'src/mounts/transport', 'src/net', '@modelcontextprotocol'
  ],
  'src/mounts/offers': [
    'src/define', 'src/mcp/catalog', 'src/mcp/handlers', 'src/mounts/caller', 'src/mounts/connection',
    'src/mounts/pins', 'src/mounts/server', 'src/mounts/settings', 'src/selection', '@modelcontextprotocol'
  ],
  'src/mounts': [
    'src/config', 'src/crypto', 'src/define', 'src/limits', 'src/mounts/caller', 'src/mounts/connection',
    'src/mounts/offers', 'src/mounts/pins', 'src/mounts/server', 'src/mounts/settings', 'src/tokens'
  ],
  'src/mounts/command-identity.ts': [
    'src/config', 'src/crypto', 'src/define', 'src/mounts', 'src/mounts/caller', 'src/net', 'src/provider', 'src/tokens'
  ],

  // What is offered, and how its authors test it
  'src/index.ts': ['src/define', 'src/mounts/settings/define-mount.ts', 'src/tokens'],
  'src/tools': ['src/config', 'src/define', 'src/index.ts'],
  'src/prompts': ['src/define', 'src/index.ts'],
  'src/resources': ['src/config', 'src/define', 'src/index.ts'],
  'src/extensions': ['src/define', 'src/mounts/settings/define-mount.ts'],
  'src/definitions.ts': [
    'src/config', 'src/define', 'src/extensions', 'src/mcp/revisions.ts', 'src/mounts/settings/define-mount.ts',
    'src/resources'
  ],
  'src/testing': [
    'src/config', 'src/crypto', 'src/define', 'src/mcp/catalog', 'src/mcp/engine.ts', 'src/mcp/engine-services.ts',
    'src/mcp/exchange.ts', 'src/policy', 'src/store', 'src/tokens', '@modelcontextprotocol'
  ],

  // Sources of tools, made of an OpenAPI description
  'src/import': ['src/config', 'src/net', '@apidevtools', '@readme', 'yaml'],

  // The diagnosis: what is wrong, and the setting to change
  'src/doctor': [
    'src/config', 'src/crypto', 'src/define', 'src/mounts', 'src/mounts/settings', 'src/net', 'src/oauth/endpoints',
    'src/provider', 'src/provider-presets', 'src/store', 'src/tokens', 'src/workloads', 'jose', 'oauth4webapi'
  ],

  // HTTP: only from here on does anything know Fastify
  'src/pages': [],
  'src/logging': ['fastify'],
  'src/http': [
    'src/audit', 'src/config', 'src/crypto', 'src/mcp/exchange.ts', 'src/net', 'src/oauth/protocol', 'src/pages',
    'src/store', 'src/tokens', 'src/trace', 'fastify'
  ],
  routes: [
    'src/audit', 'src/connections', 'src/http', 'src/limits', 'src/mcp/engine.ts', 'src/mcp/exchange.ts',
    'src/oauth/clients', 'src/oauth/endpoints', 'src/oauth/modes', 'src/oauth/modes/broker', 'src/oauth/protocol',
    'src/pages', 'src/schemas', 'src/trace', 'fastify'
  ],
  plugins: [
    'routes', 'src/audit', 'src/config', 'src/connections', 'src/crypto', 'src/define', 'src/http', 'src/limits',
    'src/mcp/engine.ts', 'src/mcp/engine-services.ts', 'src/mcp/handlers', 'src/mounts', 'src/mounts/caller',
    'src/mounts/settings', 'src/net', 'src/oauth/clients',
    'src/oauth/endpoints', 'src/oauth/modes', 'src/oauth/modes/broker', 'src/oauth/modes/proxy', 'src/policy',
    'src/provider', 'src/selection', 'src/store', 'src/telemetry', 'src/tokens', 'src/trace', 'src/workloads',
    'fastify'
  ],

  // The process
  'src/app.ts': [
    'plugins', 'src/config', 'src/define', 'src/http', 'src/logging', 'src/mcp/engine.ts', 'src/net', 'src/policy',
    'fastify'
  ],
  'src/listen.ts': ['src/net', 'fastify'],
  'src/vanished-terminal.ts': [],
  'src/serve.ts': [
    'src/app.ts', 'src/config', 'src/definitions.ts', 'src/extensions', 'src/http', 'src/listen.ts', 'src/logging',
    'src/vanished-terminal.ts'
  ],
  'src/server.ts': ['src/serve.ts'],
  'src/commands': [
    'src/audit', 'src/config', 'src/connections', 'src/crypto', 'src/define', 'src/doctor', 'src/import',
    'src/limits', 'src/mcp/sessions', 'src/mounts', 'src/mounts/connection', 'src/mounts/pins', 'src/mounts/settings',
    'src/net', 'src/oauth/clients', 'src/oauth/modes/broker',
    'src/policy', 'src/provider', 'src/selection', 'src/store', 'src/tokens', 'src/trace', 'oauth4webapi'
  ],
  'src/cli.ts': ['plugins', 'src/commands', 'src/config', 'src/definitions.ts', 'src/serve.ts'],
  'src/seed-mcp-server.ts': ['src/cli.ts']
}

const HELPERS = [
  'src/errors', 'src/async', 'src/json', 'src/logging/events.ts', 'src/logging/log.ts',
  'src/oauth/protocol/grant-types.ts'
]

/** Plugins meet through decorators, and a route knows no other route. */
const NO_SIBLINGS = ['plugins', 'routes']

const FENCED = {
  '@apidevtools': ['@apidevtools/*'],
  '@opentelemetry': ['@opentelemetry/*'],
  fastify: ['fastify', 'fastify-plugin', '@fastify/*'],
  '@modelcontextprotocol': ['@modelcontextprotocol/*'],
  ioredis: ['ioredis'],
  jose: ['jose'],
  oauth4webapi: ['oauth4webapi'],
  '@readme': ['@readme/*'],
  yaml: ['yaml']
}

/** The rule for one row of the table. */
function allowOnly (place, allowed) {
  const isFile = place.endsWith('.ts')
  const folder = isFile ? dirname(place) : place
  const siblings = isFile || NO_SIBLINGS.includes(place) ? [] : [place]
  const modules = [...HELPERS, ...allowed.filter((name) => name in MAY_IMPORT), ...siblings]
  const relative = modules.map((name) => toSpecifier(folder, name)).join('|')
  const packages = Object.keys(FENCED).filter((name) => !allowed.includes(name)).flatMap((name) => FENCED[name])
  return {
    files: [isFile ? place : `${place}/*.ts`],
    rules: {
      'no-restricted-imports': ['error', {
        patterns: [
          {
            regex: `^\\.(?!(?:${relative})$)`,
            message: `${place} may import only ${modules.join(', ')} (the table in eslint.config.js).`
          },
          { group: packages, message: `${place} may not use this package (the table in eslint.config.js).` }
        ]
      }]
    }
  }
}

/** A regular expression for the specifiers of a folder's modules, or of one file, without the first dot. */
function toSpecifier (from, name) {
  const path = posix.relative(from, name)
  const specifier = (path.startsWith('.') ? path : path === '' ? '.' : `./${path}`).slice(1).replaceAll('.', '\\.')
  return name.endsWith('.ts') ? specifier : `${specifier}/[^/]+\\.ts`
}

const places = Object.keys(MAY_IMPORT)
for (const [index, place] of places.entries()) {
  for (const name of MAY_IMPORT[place]) {
    if (!(name in FENCED) && !places.slice(0, index).includes(name)) {
      throw new Error(`eslint.config.js: ${place} may import ${name}, which must stand above it`)
    }
  }
}

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.dev', '.bench', '.tap', '.test-build', 'node_modules'] }),
  {
    files: ['src/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts'],
    ignores: ['src/server.ts', 'src/cli.ts', 'src/seed-mcp-server.ts'],
    rules: { 'n/no-process-env': 'error' }
  },
  {
    files: ['src/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts'],
    rules: { 'max-lines-per-function': ['error', { max: 125 }] }
  },
  {
    files: ['src/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', {
        patterns: [{ regex: '^\\.', message: 'This folder is missing in the table in eslint.config.js.' }]
      }]
    }
  },
  ...places.map((place) => allowOnly(place, MAY_IMPORT[place])),
  {
    files: ['**/*.{ts,js,mjs}'],
    plugins: { '@stylistic': plugins['@stylistic'] },
    rules: { '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true }] }
  },
  {
    // Expected headers, raw requests and names of tests cannot be broken.
    files: ['test/**/*.{ts,js,mjs}'],
    rules: {
      '@stylistic/max-len': ['error', {
        code: 120, ignoreUrls: true, ignoreRegExpLiterals: true, ignoreStrings: true, ignoreTemplateLiterals: true
      }]
    }
  }
]
