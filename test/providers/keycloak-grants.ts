import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { post } from '../support/broker.ts'
import { check, equal, resultOf } from './checks.ts'
import {
  COMPANY_CLIENT, discoverProvider, expectRefusedAssertion, sendAsCompanyClient, signInToCompanyClient
} from './company-client.ts'
import type { SeedUnderTest } from './provider.ts'

/** Grants without a browser at Keycloak. Its own ID-JAGs would be one of them, but no version issues any. */

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** A client of Keycloak that is a service alone. */
export const SERVICE_CLIENT = { clientId: 'nightly', clientSecret: randomBytes(32).toString('base64url') }

/** Another provider of the company, which Keycloak trusts for ID-JAGs: an issuer with a key. */
export interface TrustedIssuer {
  issuer: string
  jwksUrl: string
  sign (audience: string, subject: string, changes?: { clientId?: string }): Promise<string>
  close (): void
}

export async function startTrustedIssuer (): Promise<TrustedIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const kid = randomUUID()
  const jwks = JSON.stringify({ keys: [{ ...await exportJWK(publicKey), kid, alg: 'ES256', use: 'sig' }] })
  const server = createServer((_req, res) => { res.setHeader('content-type', 'application/json').end(jwks) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    issuer,
    jwksUrl: `${issuer}/jwks`,
    sign: async (audience, subject, { clientId = COMPANY_CLIENT.clientId } = {}) =>
      await new SignJWT({ client_id: clientId, jti: randomUUID() })
        .setProtectedHeader({ alg: 'ES256', kid, typ: 'oauth-id-jag+jwt' })
        .setIssuer(issuer)
        .setSubject(subject)
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime('2m')
        .sign(privateKey),
    close: () => { server.close() }
  }
}

/**
 * Asks Keycloak for an ID-JAG, which it does not issue, and brings what it does issue to Seed. This fails once Keycloak
 * learns to issue them (keycloak/keycloak#48818): then it takes the place of this check.
 */
export async function expectNoIdentityAssertions (
  seed: SeedUnderTest, issuer: string, signIn: (authorizationUrl: URL) => Promise<URL>
): Promise<void> {
  const tokens = await signInToCompanyClient(issuer, signIn)
  const { token_endpoint: endpoint } = await discoverProvider(issuer)
  const exchange = async (type: 'id_token' | 'access_token', form: Record<string, string>) =>
    await sendAsCompanyClient(endpoint, {
      grant_type: TOKEN_EXCHANGE, subject_token: tokens[type], subject_token_type: `${TOKEN_TYPE}${type}`, ...form
    })
  for (const [type, reason] of [
    ['id_token', "Parameter 'subject_token' supports access tokens only"],
    ['access_token', 'requested_token_type unsupported']
  ] as const) {
    const { statusCode, json } = await exchange(type, {
      requested_token_type: `${TOKEN_TYPE}id-jag`, audience: seed.url, resource: `${seed.url}/mcp`
    })
    equal([statusCode, json['error_description']], [400, reason], `an ID-JAG for the ${type}`)
  }
  const exchanged = await exchange('access_token', { audience: 'orders-api' })
  equal(exchanged.statusCode, 200, `standard token exchange (${exchanged.body})`)
  await expectRefusedAssertion(seed, tokens.id_token, 'an ID token of Keycloak')
  await expectRefusedAssertion(seed, tokens.access_token, 'an access token of Keycloak')
  await expectRefusedAssertion(seed, String(exchanged.json['access_token']), 'an exchanged token of Keycloak')
}

/**
 * Brings an ID-JAG to Keycloak, which trusts its issuer, and Keycloak's access token to Seed in proxy mode.
 *
 * @param subject of the person at the trusted issuer
 */
export async function checkIdentityAssertionAtKeycloak (
  seed: SeedUnderTest, issuer: string, trusted: TrustedIssuer, subject: string
): Promise<void> {
  const { token_endpoint: endpoint } = await discoverProvider(issuer)
  const send = async (assertion: string) => await sendAsCompanyClient(endpoint, {
    grant_type: JWT_BEARER, assertion, scope: 'openid profile email'
  })
  const assertion = await trusted.sign(issuer, subject)
  const answer = await send(assertion)
  equal(answer.statusCode, 200, `the answer to the ID-JAG (${answer.body})`)
  check(answer.json['refresh_token'] === undefined, 'there is no refresh token')
  const found = await whoami(seed, String(answer.json['access_token']))
  const signedIn = await whoami(seed, (await seed.signIn()).tokens.access_token)
  for (const name of ['kind', 'subject', 'issuer', 'email', 'groups']) equal(found[name], signedIn[name], name)
  equal((await send(assertion)).json['error'], 'invalid_grant', 'the ID-JAG again')
  const other = await send(await trusted.sign(issuer, subject, { clientId: 'another-app' }))
  equal(other.json['error'], 'invalid_grant', 'the ID-JAG of another client')
}

/** Lets a service get its token from Keycloak, and call Seed in proxy mode with it. */
export async function checkService (seed: SeedUnderTest, issuer: string): Promise<void> {
  const { token_endpoint: endpoint } = await discoverProvider(issuer)
  const { clientId, clientSecret } = SERVICE_CLIENT
  const answer = await post(endpoint, {
    grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret
  })
  equal(answer.statusCode, 200, `client credentials (${answer.body})`)
  const found = await whoami(seed, String(answer.json['access_token']))
  equal([found['signedIn'], found['clientId'], found['kind']], [true, clientId, 'service'], 'the caller')
}

async function whoami (seed: SeedUnderTest, token: string): Promise<Record<string, unknown>> {
  return (await resultOf(seed, token, 'whoami')).structuredContent
}
