/** Values that the files of a new project depend on. */
export interface ProjectOptions {
  name: string
  /** The version of Seed, or where npm finds it: a range, a URL or a file. */
  seedPackage: string
}

/** Returns the files of a project of one's own: a tool, its test, and what builds, runs and ships them. */
export function projectFiles ({ name, seedPackage }: ProjectOptions): Record<string, string> {
  return {
    'package.json': `${JSON.stringify({
      name,
      version: '0.1.0',
      private: true,
      type: 'module',
      engines: { node: '>=20.19.0' },
      scripts: {
        build: 'tsc',
        demo: 'tsc && seed demo --extensions ./dist/src/tools',
        start: 'seed serve --extensions ./dist/src/tools',
        seed: 'seed',
        test: 'tsc && node --test dist/test/*.test.js'
      },
      dependencies: { 'seed-mcp-server': seedPackage },
      devDependencies: { '@types/node': '^20.19.0', typescript: '^5.9.0' }
    }, null, 2)}\n`,
    'tsconfig.json': `${JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2023',
        lib: ['es2023'],
        types: ['node'],
        rootDir: '.',
        outDir: 'dist',
        sourceMap: true,
        strict: true,
        noUncheckedIndexedAccess: true,
        exactOptionalPropertyTypes: true,
        verbatimModuleSyntax: true,
        skipLibCheck: true
      },
      include: ['src', 'test']
    }, null, 2)}\n`,
    'src/tools/add.ts': toolFile('add', ADD),
    'test/add.test.ts': ADD_TEST,
    '.gitignore': 'node_modules\ndist\n.env\n',
    '.dockerignore': '*\n!package.json\n!package-lock.json\n!tsconfig.json\n!src\n!test\n',
    '.env.example': ENV_EXAMPLE,
    Dockerfile: DOCKERFILE,
    'compose.yaml': composeFile(name),
    'README.md': readme(name)
  }
}

/** Returns a tool and its test for a project, by the tool's name. */
export function toolFiles (name: string): Record<string, string> {
  const kebab = name.replaceAll('_', '-')
  const words = kebab.replaceAll('-', ' ')
  const title = `${words[0]!.toUpperCase()}${words.slice(1)}`
  const camel = kebab.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
  return {
    [`src/tools/${kebab}.ts`]: toolFile(camel, `{
  name: '${name}',
  title: '${title}',
  description: 'Tells the model what this tool does, and when to use it.',
  input: Type.Object({
    text: Type.String({ description: 'Tells the model what to pass here' })
  }, { additionalProperties: false }),
  output: Type.Object({ text: Type.String(), caller: Type.String() }),
  annotations: { readOnlyHint: true },
  handler ({ text }, { principal }) {
    return { text, caller: principal?.subject ?? 'nobody' }
  }
}`),
    [`test/${kebab}.test.ts`]: `${TEST_IMPORTS}import { ${camel}Tool } from '../src/tools/${kebab}.js'

test('${name} returns its text and the caller', async () => {
  const client = await createTestClient({ definitions: [${camel}Tool], principal: { subject: 'ada' } })
  try {
    const { structuredContent } = await client.callTool('${name}', { text: 'hello' })
    assert.deepEqual(structuredContent, { text: 'hello', caller: 'ada' })
  } finally {
    await client.close()
  }
})
`
  }
}

function toolFile (camel: string, declaration: string): string {
  return `import { Type, defineTool } from 'seed-mcp-server'

export const ${camel}Tool = defineTool(${declaration})
`
}

const TEST_IMPORTS = `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestClient } from 'seed-mcp-server/testing'
`

const ADD = `{
  name: 'add',
  title: 'Add',
  description: 'Adds two numbers, and says who asked.',
  input: Type.Object({
    a: Type.Number({ description: 'The first number' }),
    b: Type.Number({ description: 'The second number' })
  }, { additionalProperties: false }),
  output: Type.Object({ sum: Type.Number(), caller: Type.String() }),
  annotations: { readOnlyHint: true },
  handler ({ a, b }, { principal }) {
    return { sum: a + b, caller: principal?.subject ?? 'nobody' }
  }
}`

const ADD_TEST = `${TEST_IMPORTS}import { addTool } from '../src/tools/add.js'

test('add returns the sum and the caller', async () => {
  const client = await createTestClient({ definitions: [addTool], principal: { subject: 'ada' } })
  try {
    const { structuredContent } = await client.callTool('add', { a: 2, b: 3 })
    assert.deepEqual(structuredContent, { sum: 5, caller: 'ada' })
  } finally {
    await client.close()
  }
})

test('add refuses what is no number', async () => {
  const client = await createTestClient({ definitions: [addTool] })
  try {
    const { isError } = await client.callTool('add', { a: 2, b: 'three' })
    assert.equal(isError, true)
  } finally {
    await client.close()
  }
})
`

const ENV_EXAMPLE = `# Copy to .env. node_modules/seed-mcp-server/README.md has all settings.
# "npx seed check" and "npx seed doctor" try them.
BASE_URL=https://mcp.example.com
OAUTH_MODE=broker
OIDC_ISSUER=https://auth.example.com
OIDC_CLIENT_ID=
OIDC_CLIENT_SECRET=
# openssl rand -base64 32
SEED_SECRET=
`

const DOCKERFILE = `FROM node:26-alpine AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json ./
COPY src ./src
COPY test ./test
RUN npm test && npm prune --omit=dev

FROM node:26-alpine
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist/src ./dist/src
# HOST is the address inside the container; -p decides which addresses of the machine reach it.
ENV NODE_ENV=production HOST=0.0.0.0
USER 1000:1000
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \\
  CMD ["node", "/app/node_modules/seed-mcp-server/dist/src/cli.js", "health"]
CMD ["node", "/app/node_modules/seed-mcp-server/dist/src/cli.js", "serve", "--extensions", "/app/dist/src/tools"]
`

function composeFile (name: string): string {
  return `services:
  mcp:
    image: ${name}
    build: .
    env_file: .env
    environment:
      REDIS_URL: redis://redis:6379
      # With METRICS_PORT in .env, containers beside it may scrape; no port is published.
      METRICS_HOST: 0.0.0.0
    ports:
      - 127.0.0.1:3000:3000
    depends_on:
      redis:
        condition: service_healthy
    read_only: true
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    init: true
    restart: unless-stopped
  redis:
    image: redis:8-alpine
    command: redis-server --appendonly yes
    volumes:
      - redis:/data
    healthcheck:
      test: ['CMD', 'redis-cli', 'ping']
      interval: 10s
    restart: unless-stopped
volumes:
  redis: {}
`
}

function readme (name: string): string {
  return `# ${name}

An MCP server with OpenID Connect sign-in, made of [Seed](https://www.npmjs.com/package/seed-mcp-server) and the tools
in \`src/tools\`.

\`\`\`bash
npm install
npm test              # the tools' tests
npm run demo          # on this machine; users ada and bob sign in with their names as passwords
npx seed new tool close_ticket
\`\`\`

With your own provider: \`cp .env.example .env\`, fill it in, then \`npm run build\`, \`npx seed doctor\` and
\`npm start\`, or \`docker compose up --build\`.
`
}
