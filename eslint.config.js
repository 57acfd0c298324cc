import neostandard from 'neostandard'

/**
 * Imports run one way (docs/architecture.md):
 * server -> app -> plugins -> routes -> src/http -> src/{oauth,oidc,mcp,extensions,tools,prompts,resources} -> src/define -> src/{schemas,store,config,crypto,http-client}.
 * Each block says what a folder may not reach for.
 */
const HTTP = ['**/plugins/*', '**/routes/*', '**/src/app.ts', '**/src/server.ts', '**/app.ts', '**/server.ts']
const FASTIFY = ['fastify', 'fastify-plugin', '@fastify/*']
const OUTSIDE = ['**/dev/*', '**/bench/*', '**/test/*']
const forbid = (files, groups, message) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: [{ group: groups, message }] }] }
})

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.dev', '.bench', '.tap', '.test-build', 'node_modules'] }),
  {
    files: ['src/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts'],
    ignores: ['src/server.ts', 'src/cli.ts'],
    rules: { 'n/no-process-env': 'error' }
  },
  forbid(['src/app.ts', 'src/serve.ts', 'src/server.ts'], OUTSIDE, 'What ships imports nothing from dev, bench or test.'),
  forbid(['plugins/*.ts'], ['./*', '**/plugins/*', ...OUTSIDE], 'Plugins meet through decorators and dependencies, never by import.'),
  forbid(['routes/*.ts'], ['./*', '**/plugins/*', '**/app.ts', '**/server.ts', ...OUTSIDE], 'A route file knows the domain and src/http only; its services are options.'),
  forbid(['src/http/*.ts'], [...HTTP, ...OUTSIDE], 'src/http knows the domain, not who mounts it.'),
  forbid(['src/oauth/**/*.ts', 'src/oidc/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/mcp/*', '**/tools/*', ...OUTSIDE], 'The domain imports no Fastify and nothing above it.'),
  forbid(['src/mcp/**/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/tools/*', '**/prompts/*', '**/resources/*', '**/extensions/*', '**/oauth/*', ...OUTSIDE], 'A tool is on top of the engine, never under it; the domain imports no Fastify.'),
  forbid(['src/commands/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/mcp/*', '**/tools/*', ...OUTSIDE], 'A command works on the domain, without the server.'),
  forbid(['src/policy/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/oauth/*', '**/mcp/*', '**/tools/*', '**/extensions/*', ...OUTSIDE], 'Judging needs a policy and a principal, and nothing of what is done with the verdict.'),
  forbid(['src/define/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/oauth/*', '**/mcp/*', '**/tools/*', '**/extensions/*', ...OUTSIDE], 'What authors import knows nothing of what runs it.'),
  forbid(['src/tools/*.ts', 'src/prompts/*.ts', 'src/resources/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/oauth/*', '**/mcp/*', '**/extensions/*', ...OUTSIDE], 'A tool is made of what src/define and src/index.ts offer, and knows nothing of the engine or HTTP.'),
  forbid(['src/testing/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/oauth/*', '**/tools/*', '**/prompts/*', '**/resources/*', '**/extensions/*', '**/commands/*', ...OUTSIDE], 'The testing kit drives the engine, without HTTP and without anything of its own to offer.'),
  forbid(['src/extensions/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/oauth/*', '**/mcp/*', ...OUTSIDE], 'Loading knows definitions, not what is done with them.'),
  forbid(['src/schemas/*.ts', 'src/store/*.ts', 'src/config/*.ts', 'src/http-client/*.ts', 'src/crypto/*.ts'], [...HTTP, ...FASTIFY, '**/http/*', '**/oauth/*', '**/oidc/*', '**/mcp/*', '**/tools/*', ...OUTSIDE], 'The foundations import nothing of Seed above them.')
]
