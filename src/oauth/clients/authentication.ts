import { createLocalJWKSet, errors, jwtVerify } from 'jose'
import type { JWK } from 'jose'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { Client, Clients } from './clients.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { digest, timingSafeEquals } from '../../crypto/keyring.ts'

/** Who asks at the token and revocation endpoints (RFC 6749 section 2.3, RFC 7523 section 2.2, OAuth 2.1 section 2.4). */
export interface ClientCredentials {
  client_id?: string
  client_secret?: string
  client_assertion?: string
  client_assertion_type?: string
}

export interface ClientAuthenticationServices {
  clients: Clients
  store: Store
  /** BASE_URL: the issuer, which an assertion names as its audience. */
  baseUrl: string
}

/** Algorithms of client assertions: asymmetric, as published in `token_endpoint_auth_signing_alg_values_supported`. */
export const ASSERTION_ALGORITHMS = ['ES256', 'RS256', 'PS256', 'EdDSA']

/** Longest life of a client assertion, and so of the mark that it was used. */
const MAX_ASSERTION_SECONDS = 300
const CLOCK_SKEW_SECONDS = 30

/**
 * @param authorization the Authorization header, if any
 * @returns the client, authenticated by the one method it has
 * @throws OAuthError invalid_client or invalid_request; StoreUnavailableError
 */
export async function authenticateClient (body: ClientCredentials, authorization: string | undefined, services: ClientAuthenticationServices): Promise<Client> {
  const basic = authorization === undefined ? undefined : readBasic(authorization)
  const ways = [basic !== undefined, body.client_secret !== undefined, body.client_assertion !== undefined].filter(Boolean).length
  if (ways > 1) throw new OAuthError('invalid_request', 'Authenticate in one way: the Authorization header, client_secret or client_assertion')
  const clientId = basic?.id ?? body.client_id ?? subjectOf(body.client_assertion)
  if (clientId === undefined) throw new OAuthError('invalid_client', 'client_id is required')
  if (body.client_id !== undefined && body.client_id !== clientId) throw new OAuthError('invalid_request', 'client_id is not the one that authenticates')
  const client = await services.clients.find(clientId)
  await checkMethod(client, { basic: basic?.secret, post: body.client_secret, assertion: body.client_assertion, assertionType: body.client_assertion_type }, services)
  return client
}

interface Presented {
  basic: string | undefined
  post: string | undefined
  assertion: string | undefined
  assertionType: string | undefined
}

/** The registered method and no other: a public client that sends a secret does not know what it is. */
async function checkMethod (client: Client, { basic, post, assertion, assertionType }: Presented, services: ClientAuthenticationServices): Promise<void> {
  const { authMethod, secretHash } = client
  if (authMethod === 'none') {
    if ((basic ?? post ?? assertion) !== undefined) throw new OAuthError('invalid_client', 'This client is public: send client_id in the body and no secret')
  } else if (authMethod === 'private_key_jwt') {
    if (assertion === undefined || assertionType !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') {
      throw new OAuthError('invalid_client', 'This client authenticates with private_key_jwt: send client_assertion and client_assertion_type')
    }
    await checkAssertion(client, assertion, services)
  } else {
    const secret = authMethod === 'client_secret_basic' ? basic : post
    if (secret === undefined || !timingSafeEquals(digest(secret), secretHash!)) {
      throw new OAuthError('invalid_client', `This client authenticates with ${authMethod}; its secret is missing or wrong`)
    }
  }
}

/** RFC 7617, with id and secret form-encoded (RFC 6749 section 2.3.1). */
function readBasic (authorization: string): { id: string, secret: string } {
  const refused = new OAuthError('invalid_client', 'The Authorization header must be Basic, with client id and secret')
  const match = /^Basic +([A-Za-z0-9+/]+=*)$/i.exec(authorization)
  const text = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 1) throw refused
  try {
    const [id, secret] = [text.slice(0, colon), text.slice(colon + 1)].map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
    return { id: id!, secret: secret! }
  } catch {
    throw refused
  }
}

/** The client that an assertion claims to be from; believed only once its signature fits that client's key. */
function subjectOf (assertion: string | undefined): string | undefined {
  try {
    const { sub } = JSON.parse(Buffer.from(assertion!.split('.')[1]!, 'base64url').toString('utf8')) as { sub?: unknown }
    return typeof sub === 'string' ? sub : undefined
  } catch {
    return undefined
  }
}

/** RFC 7523 section 3: signed by the client's key, from and about the client, for this server, short-lived, used once. */
async function checkAssertion (client: Client, assertion: string, { store, baseUrl }: ClientAuthenticationServices): Promise<void> {
  const claims = await verifyAssertion(client, assertion, baseUrl)
  if (claims.exp - Date.now() / 1_000 > MAX_ASSERTION_SECONDS) {
    throw new OAuthError('invalid_client', `The client assertion lives longer than ${MAX_ASSERTION_SECONDS} seconds`)
  }
  const fresh = await store.setIfAbsent(keys.assertion(digest(assertion.split('.').slice(0, 2).join('.'))), '1', MAX_ASSERTION_SECONDS + CLOCK_SKEW_SECONDS)
  if (!fresh) throw new OAuthError('invalid_client', 'The client assertion was used before')
}

async function verifyAssertion (client: Client, assertion: string, baseUrl: string): Promise<{ exp: number }> {
  try {
    const { payload } = await jwtVerify(assertion, createLocalJWKSet(client.jwks as { keys: JWK[] }), {
      algorithms: ASSERTION_ALGORITHMS,
      issuer: client.id,
      subject: client.id,
      audience: [baseUrl, `${baseUrl}/oauth/token`, `${baseUrl}/oauth/revoke`],
      clockTolerance: CLOCK_SKEW_SECONDS,
      requiredClaims: ['exp', 'jti']
    })
    return { exp: payload.exp! }
  } catch (err) {
    throw new OAuthError('invalid_client', 'The client assertion is not acceptable', { detail: `${(err as errors.JOSEError).code}: ${(err as Error).message}`, cause: err })
  }
}
