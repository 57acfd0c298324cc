import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { CryptoKey, JWK } from 'jose'
import type { Test } from 'tap'

/** A platform that gives its workloads tokens, with its discovery document and its keys on loopback. */
export interface WorkloadIssuer {
  issuer: string
  jwksUri: string
  /** The paths that were asked for, in order. */
  requests: string[]
  /** The public keys, which may be changed. */
  keys: JWK[]
  privateKey: CryptoKey
  /** The discovery document, which may be changed. */
  document: Record<string, unknown>
  /** While false, every answer is a 503. */
  isUp: boolean
  /** Signs claims; those with the value undefined are left out. */
  mint (claims: Record<string, unknown>, header?: Record<string, unknown>, key?: CryptoKey): Promise<string>
  /** Publishes another key in the place of the first, and signs with it from now on. */
  rotate (kid: string): Promise<void>
}

/** As many issuers as a test starts at once have keys of their own. */
const MAX_PAIRS = 8
const pairs = new Map<string, Array<ReturnType<typeof generateKeyPair>>>()
let turn = 0

/** Returns one of a few key pairs, in turn: to generate an RSA key takes a fifth of a second. */
async function nextKeyPair (algorithm: string): ReturnType<typeof generateKeyPair> {
  const known = pairs.get(algorithm) ?? []
  pairs.set(algorithm, known)
  return await (known[turn++ % MAX_PAIRS] ??= generateKeyPair(algorithm))
}

export async function startWorkloadIssuer (t: Test, { algorithm = 'RS256', kid = 'platform-key' } = {}) {
  const server = createServer((request, response) => {
    issuer.requests.push(request.url!)
    response.statusCode = issuer.isUp ? 200 : 503
    response.end(JSON.stringify(request.url === '/jwks' ? { keys: issuer.keys } : issuer.document))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const pair = await nextKeyPair(algorithm)
  const issuer: WorkloadIssuer = {
    issuer: url,
    jwksUri: `${url}/jwks`,
    requests: [],
    keys: [{ ...await exportJWK(pair.publicKey), kid, use: 'sig', alg: algorithm }],
    privateKey: pair.privateKey,
    document: { issuer: url, jwks_uri: `${url}/jwks` },
    isUp: true,
    async mint (claims, header = {}, key = issuer.privateKey) {
      const kid = issuer.keys[0]!.kid
      return await new SignJWT({ iss: url, ...claims })
        .setProtectedHeader({ alg: algorithm, ...(kid !== undefined && { kid }), ...header }).sign(key)
    },
    async rotate (kid) {
      const next = await nextKeyPair(algorithm)
      issuer.keys = [{ ...await exportJWK(next.publicKey), kid, use: 'sig', alg: algorithm }]
      issuer.privateKey = next.privateKey
    }
  }
  return issuer
}

const seconds = (): number => Math.floor(Date.now() / 1_000)

/** The claims of a job in a repository's environment, as GitHub Actions writes them. */
export function githubClaims (audience: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    jti: randomUUID(),
    sub: 'repo:octo-org/octo-repo:environment:production',
    aud: audience,
    ref: 'refs/heads/main',
    sha: 'ffac537e6cbbf934b08745a378932722df287a53',
    repository: 'octo-org/octo-repo',
    repository_owner: 'octo-org',
    repository_owner_id: '65',
    run_id: '30433642',
    run_number: '10',
    run_attempt: '2',
    repository_visibility: 'private',
    repository_id: '74',
    actor_id: '12',
    actor: 'octocat',
    workflow: 'deploy',
    head_ref: '',
    base_ref: '',
    event_name: 'push',
    ref_protected: 'true',
    ref_type: 'branch',
    workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
    job_workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
    runner_environment: 'github-hosted',
    environment: 'production',
    nbf: seconds() - 600,
    iat: seconds(),
    exp: seconds() + 300,
    ...changes
  }
}

/** The claims of a job on a protected branch, as GitLab writes them in id_tokens. */
export function gitlabClaims (audience: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    namespace_id: '72',
    namespace_path: 'my-group',
    project_id: '20',
    project_path: 'my-group/my-project',
    user_id: '1',
    user_login: 'sample-user',
    user_access_level: 'developer',
    pipeline_id: '574',
    pipeline_source: 'push',
    job_id: '302',
    ref: 'main',
    ref_type: 'branch',
    ref_path: 'refs/heads/main',
    ref_protected: 'true',
    runner_id: 1,
    runner_environment: 'gitlab-hosted',
    sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
    project_visibility: 'private',
    sub: 'project_path:my-group/my-project:ref_type:branch:ref:main',
    aud: audience,
    jti: randomUUID(),
    iat: seconds(),
    nbf: seconds() - 5,
    exp: seconds() + 3_600,
    ...changes
  }
}

/** The claims of a pod's projected service account token, as the API server of Kubernetes writes them. */
export function kubernetesClaims (audience: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    aud: [audience],
    iat: seconds(),
    nbf: seconds(),
    exp: seconds() + 600,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: 'reports',
      node: { name: 'node-1', uid: '646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1' },
      pod: { name: 'nightly-28512', uid: '5e0bd49b-f040-43b0-99b7-22765a53f7f3' },
      serviceaccount: { name: 'nightly', uid: '14ee3fa4-a7e2-420f-9f9a-dbc4507c3798' }
    },
    sub: 'system:serviceaccount:reports:nightly',
    ...changes
  }
}

/** The claims of a JWT-SVID, as SPIRE writes them: without `iss` and `jti`. */
export function spiffeClaims (audience: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    iss: undefined,
    sub: 'spiffe://example.org/ns/reports/job',
    aud: [audience],
    iat: seconds(),
    exp: seconds() + 300,
    ...changes
  }
}
