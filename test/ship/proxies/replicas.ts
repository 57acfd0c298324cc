import { once } from 'node:events'
import { get } from 'node:http'
import type { Test } from 'tap'
import { startDevProvider } from '../../../dev/provider.ts'
import { SERVER_NAME } from '../../support/nginx.ts'
import { TOOL_SERVER, emptyFolder, startProcess } from '../../support/process.ts'
import type { TestProcess } from '../../support/process.ts'
import { until } from '../../support/until.ts'

export const BASE_URL = `https://${SERVER_NAME}`

/** Two replicas as processes in broker mode on one Redis, which clients know by their https BASE_URL only. */
export interface ReplicaPair {
  /** Ends a replica with SIGTERM; resolves with its exit code. */
  drain (index: 0 | 1): Promise<number | null>
  /** Starts a replica again on its port; resolves when it is ready. */
  restart (index: 0 | 1): Promise<void>
  /** The output of a replica since it was started last. */
  output (index: 0 | 1): Promise<string>
}

export async function startReplicaPair (
  t: Test, ports: [number, number], redisUrl: string, logins: string[], shutdownDelaySeconds = 0
): Promise<ReplicaPair> {
  const provider = await startDevProvider({
    algorithm: 'ES256',
    fixedRedirectUris: [`${BASE_URL}/oauth/callback`],
    users: logins.map((login) => ({ login, password: login, name: login, email: `${login}@example.com`, groups: [] }))
  })
  t.teardown(async () => { await provider.close() })
  const start = async (port: number): Promise<TestProcess> => {
    const replica = startProcess(t, ['--enable-source-maps', TOOL_SERVER], {
      PORT: String(port),
      HOST: '127.0.0.1',
      BASE_URL,
      TRUST_PROXY: '127.0.0.1',
      OAUTH_MODE: 'broker',
      OIDC_ISSUER: provider.issuer,
      OIDC_CLIENT_ID: provider.clientId,
      SEED_SECRET: 'one secret for both of the replicas',
      REDIS_URL: redisUrl,
      SHUTDOWN_DELAY_SECONDS: String(shutdownDelaySeconds),
      CIMD_ENABLED: 'false',
      OAUTH_LIMIT_PER_ADDRESS: '1000000',
      MCP_LIMIT_PER_ADDRESS: '1000000',
      MCP_LIMIT_PER_PRINCIPAL: '1000000'
    }, await emptyFolder(t))
    await replica.printed(/Seed is ready/)
    await until(async () => await isReady(port), 'the replica is ready')
    return replica
  }
  const replicas = await Promise.all(ports.map(start))
  return {
    async drain (index) {
      replicas[index]!.child.kill('SIGTERM')
      return (await replicas[index]!.ended).code
    },
    async restart (index) { replicas[index] = await start(ports[index]) },
    output: async (index) => await replicas[index]!.output()
  }
}

async function isReady (port: number): Promise<boolean> {
  const [response] = await once(get({ host: '127.0.0.1', port, path: '/health/ready', agent: false }), 'response')
  response.resume()
  return response.statusCode === 200
}
