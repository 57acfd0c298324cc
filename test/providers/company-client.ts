import { createHash, randomBytes } from 'node:crypto'
import {
  Client, CrossAppAccessProvider, StreamableHTTPClientTransport, discoverAndRequestJwtAuthGrant
} from '@modelcontextprotocol/client'
import { post } from '../support/broker.ts'
import type { Answer } from '../support/broker.ts'
import { check, equal } from './checks.ts'
import type { SeedUnderTest } from './provider.ts'

/** A client of the company: people sign in to it at the provider, and it reaches Seed with ID-JAGs. */
export const COMPANY_CLIENT = {
  clientId: 'company-app',
  clientSecret: randomBytes(32).toString('base64url'),
  /** Nothing listens there. */
  redirectUri: 'http://127.0.0.1:53223/callback'
}

const AT_SEED = { clientId: 'company-app-at-seed', clientSecret: randomBytes(32).toString('base64url') }
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** Client id of the company's client at Seed, which the provider writes into ID-JAGs. */
export const COMPANY_CLIENT_AT_SEED = AT_SEED.clientId

/** Returns the settings with which Seed accepts ID-JAGs of the company's client, and knows further clients. */
export function enterpriseEnv (others: object[] = []): Record<string, string> {
  return {
    ENTERPRISE_AUTHORIZATION: 'also',
    OAUTH_CLIENTS: JSON.stringify([
      { client_id: AT_SEED.clientId, client_secret: AT_SEED.clientSecret, grant_types: [JWT_BEARER] }, ...others
    ])
  }
}

export interface CompanyTokens {
  id_token: string
  access_token: string
}

interface ProviderMetadata {
  authorization_endpoint: string
  token_endpoint: string
  pushed_authorization_request_endpoint?: string
}

/** Sends a form as the company's client. The secret is in the body, as the SDK sends it to a provider. */
export async function sendAsCompanyClient (url: string, form: Record<string, string>): Promise<Answer> {
  const { clientId, clientSecret } = COMPANY_CLIENT
  return await post(url, { client_id: clientId, client_secret: clientSecret, ...form })
}

export async function discoverProvider (issuer: string): Promise<ProviderMetadata> {
  return await (await fetch(`${issuer}/.well-known/openid-configuration`)).json() as ProviderMetadata
}

/**
 * Signs the person in to the company's client, with a pushed authorization request (RFC 9126).
 *
 * @param signIn the person's browser, from the authorization URL to the redirect URI
 */
export async function signInToCompanyClient (
  issuer: string, signIn: (authorizationUrl: URL) => Promise<URL>
): Promise<CompanyTokens> {
  const { clientId, redirectUri } = COMPANY_CLIENT
  const metadata = await discoverProvider(issuer)
  const verifier = randomBytes(32).toString('base64url')
  const pushed = await sendAsCompanyClient(metadata.pushed_authorization_request_endpoint!, {
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'openid profile email',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256'
  })
  equal(pushed.statusCode, 201, `the pushed request (${pushed.body})`)
  const url = new URL(metadata.authorization_endpoint)
  url.search = String(new URLSearchParams({ client_id: clientId, request_uri: String(pushed.json['request_uri']) }))
  const back = await signIn(url)
  const answer = await sendAsCompanyClient(metadata.token_endpoint, {
    grant_type: 'authorization_code',
    code: back.searchParams.get('code') ?? '',
    redirect_uri: redirectUri,
    code_verifier: verifier
  })
  equal(answer.statusCode, 200, `the answer to the code (${answer.body})`)
  return answer.json as unknown as CompanyTokens
}

/** Brings an assertion to Seed's token endpoint as the company's client. */
export async function sendAssertion (seed: SeedUnderTest, assertion: string): Promise<Answer> {
  const { clientId, clientSecret } = AT_SEED
  const credentials = Buffer.from(`${clientId}:${clientSecret}`).toString('base64')
  return await post(`${seed.url}/oauth/token`, {
    grant_type: JWT_BEARER, assertion, resource: `${seed.url}/mcp`
  }, { authorization: `Basic ${credentials}` })
}

/** Rejects unless Seed refuses a token in the place of an ID-JAG, and keeps it out of its log. */
export async function expectRefusedAssertion (seed: SeedUnderTest, assertion: string, what: string): Promise<void> {
  const { statusCode, json } = await sendAssertion(seed, assertion)
  equal(`${statusCode} ${String(json['error'])}`, '400 invalid_grant', what)
  const log = await seed.output()
  check(!assertion.split('.').some((part) => part.length > 24 && log.includes(part)), `${what} is not in the log`)
}

/**
 * Takes the SDK's client from 401 to `whoami` with ID-JAGs of a provider: the person has no browser at Seed, and is the
 * same person as after a sign-in with one.
 */
export async function checkIdentityAssertions (
  seed: SeedUnderTest, issuer: string, signIn: (authorizationUrl: URL) => Promise<URL>
): Promise<void> {
  const { id_token: idToken, access_token: accessToken } = await signInToCompanyClient(issuer, signIn)
  let assertion = ''
  const authProvider = new CrossAppAccessProvider({
    ...AT_SEED,
    expectedIssuer: seed.url,
    assertion: async ({ authorizationServerUrl, resourceUrl }) => {
      ({ jwtAuthGrant: assertion } = await discoverAndRequestJwtAuthGrant({
        idpUrl: issuer,
        audience: authorizationServerUrl,
        resource: resourceUrl,
        idToken,
        clientId: COMPANY_CLIENT.clientId,
        clientSecret: COMPANY_CLIENT.clientSecret
      }))
      return assertion
    }
  })
  const client = new Client({ name: 'company-app', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${seed.url}/mcp`), { authProvider }))
  const { structuredContent } = await client.callTool({ name: 'whoami', arguments: {} })
  await client.close()

  const { body } = await seed.call((await seed.signIn()).tokens)
  const { result } = body as { result: { structuredContent: Record<string, unknown> } }
  const person = ({ subject, issuer, name, email, groups }: Record<string, unknown>): unknown =>
    ({ subject, issuer, name, email, groups })
  equal(person(structuredContent as Record<string, unknown>), person(result.structuredContent), 'the same person')

  await expectRefusedAssertion(seed, assertion, 'the ID-JAG again')
  await expectRefusedAssertion(seed, idToken, 'the ID token')
  await expectRefusedAssertion(seed, accessToken, 'the access token of the provider')
}
