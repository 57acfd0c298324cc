import { errors, jwtVerify } from 'jose'
import type { JWTVerifyGetKey, JWTVerifyOptions, JWTVerifyResult } from 'jose'
import { digest, timingSafeEquals } from '../../crypto/hash.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { ProviderUnavailableError } from '../../provider/discovery.ts'
import type { ClientCredentials } from '../../schemas/token.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { ClientKeySets } from './client-key-sets.ts'
import type { Client, Clients } from './clients.ts'
import type { Requester } from './requester.ts'
import type { WrongSecretLimit } from './wrong-secret-limit.ts'

export interface ClientAuthenticationServices {
  clients: Clients
  store: Store
  keySets: Pick<ClientKeySets, 'keysOf'>
  wrongSecrets: WrongSecretLimit
  /** BASE_URL: the issuer, and so the audience of client assertions. */
  baseUrl: string
}

export interface AuthenticationRequest {
  body: ClientCredentials
  /** The Authorization header, if any. */
  authorization: string | undefined
  /** True if the request presents a token, which is bound to its client. */
  bound: boolean
}

/** Algorithms of client assertions, published as `token_endpoint_auth_signing_alg_values_supported`. */
export const ASSERTION_ALGORITHMS = ['ES256', 'RS256', 'PS256', 'EdDSA']

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** Accepted values of `typ`: a token of another kind must not authenticate a client (RFC 8725 section 3.11). */
const ASSERTION_JWT_TYPES = ['jwt', 'client-authentication+jwt']

/** Longest accepted life of a client assertion; the record that it was used lives as long. */
const MAX_ASSERTION_SECONDS = 300
const CLOCK_SKEW_SECONDS = 30

/**
 * Authenticates the client at the token and revocation endpoints, by the one method that it is registered with
 * (RFC 6749 section 2.3, RFC 7523 section 2.2, OAuth 2.1 section 2.4), and counts its request.
 *
 * Where a grant decides (`bound`), the metadata document of a client that sends no credentials is not fetched, so that
 * neither its host nor other people's requests can stop a refresh or a revocation. Such a client counts as public
 * unless its document is in the cache; the grant refuses a client that should have authenticated.
 *
 * @throws OAuthError invalid_client or invalid_request; LimitError, StoreUnavailableError
 */
export async function authenticateClient (
  { body, authorization, bound }: AuthenticationRequest,
  services: ClientAuthenticationServices,
  requester: Requester
): Promise<Client> {
  const basic = authorization === undefined ? undefined : parseBasic(authorization)
  // An empty secret is one that was omitted (RFC 6749 section 2.3.1).
  const presented = {
    basicSecret: basic?.secret || undefined, postedSecret: body.client_secret, assertion: body.client_assertion
  }
  // RFC 6749 section 2.3: a client must not use more than one method in a request.
  if (Object.values(presented).filter((credential) => credential !== undefined).length > 1) {
    throw new OAuthError('invalid_request',
      'Authenticate in one way: the Authorization header, client_secret or client_assertion')
  }
  const clientId = basic?.id ?? body.client_id ?? subjectOf(body.client_assertion)
  if (clientId === undefined) throw new OAuthError('invalid_client', 'client_id is required')
  if (body.client_id !== undefined && body.client_id !== clientId) {
    throw new OAuthError('invalid_request', 'client_id is not the one that authenticates')
  }
  const needsDocument = !bound || presented.assertion !== undefined
  const client = await (needsDocument
    ? services.clients.find(clientId, requester.ip)
    : services.clients.findWithoutFetch(clientId))
  const credentials = { ...presented, assertionType: body.client_assertion_type }
  await checkCredentials(client, credentials, services, requester.ip)
  await requester.limitClient(client, client.authMethod !== 'none')
  return client
}

interface PresentedCredentials {
  basicSecret: string | undefined
  postedSecret: string | undefined
  assertion: string | undefined
  assertionType: string | undefined
}

/** Accepts the registered method only. A public client that sends a secret is misconfigured, so it is refused too. */
async function checkCredentials (
  client: Client,
  { basicSecret, postedSecret, assertion, assertionType }: PresentedCredentials,
  services: ClientAuthenticationServices,
  ip: string
): Promise<void> {
  const { authMethod, secretHashes } = client
  if (authMethod === 'none') {
    if ((basicSecret ?? postedSecret ?? assertion) === undefined) return
    throw new OAuthError('invalid_client', 'This client is public: send client_id in the body and no secret')
  }
  if (authMethod === 'private_key_jwt') {
    if (assertion === undefined || assertionType !== ASSERTION_TYPE) {
      throw new OAuthError('invalid_client',
        'This client authenticates with private_key_jwt: send client_assertion and client_assertion_type')
    }
    return await checkAssertion(client, assertion, services)
  }
  const secret = authMethod === 'client_secret_basic' ? basicSecret : postedSecret
  if (secret !== undefined) await services.wrongSecrets.check(client.id, ip)
  if (secret === undefined || !isOneOf(secretHashes, digest(secret))) {
    if (secret !== undefined) await services.wrongSecrets.count(client.id, ip)
    throw new OAuthError('invalid_client',
      `This client authenticates with ${authMethod}; its secret is missing or wrong`)
  }
}

/** Compares with every hash, so that the time tells nothing about which of them fits. */
function isOneOf (hashes: readonly string[], hash: string): boolean {
  return hashes.filter((one) => timingSafeEquals(one, hash)).length > 0
}

/** Parses HTTP Basic (RFC 7617) with a form-encoded id and secret (RFC 6749 section 2.3.1). */
function parseBasic (authorization: string): { id: string, secret: string } {
  const malformed = new OAuthError('invalid_client',
    'The Authorization header must be Basic, with client id and secret')
  const match = /^Basic +([A-Za-z0-9+/]+=*)$/i.exec(authorization)
  const text = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 1) throw malformed
  try {
    return { id: formDecode(text.slice(0, colon)), secret: formDecode(text.slice(colon + 1)) }
  } catch {
    throw malformed
  }
}

/** @throws URIError */
function formDecode (text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}

/** The client that an assertion claims to come from. It only selects the key that then verifies the signature. */
function subjectOf (assertion: string | undefined): string | undefined {
  try {
    const payload = Buffer.from(assertion!.split('.')[1]!, 'base64url').toString('utf8')
    const { sub } = JSON.parse(payload) as { sub?: unknown }
    return typeof sub === 'string' ? sub : undefined
  } catch {
    return undefined
  }
}

/**
 * Checks RFC 7523 section 3: signed by the client's key, issued by and about the client, for this server, short-lived,
 * and not used before.
 */
async function checkAssertion (
  client: Client,
  assertion: string,
  { keySets, store, baseUrl }: ClientAuthenticationServices
): Promise<void> {
  const { exp } = await verifyAssertion(client, assertion, { keySets, baseUrl })
  if (exp - Date.now() / 1_000 > MAX_ASSERTION_SECONDS) {
    throw new OAuthError('invalid_client', `The client assertion lives longer than ${MAX_ASSERTION_SECONDS} seconds`)
  }
  // Without its signature, which a client (or an attacker) could write in another encoding of the same bytes.
  const signedPart = assertion.slice(0, assertion.lastIndexOf('.'))
  const lifeSeconds = MAX_ASSERTION_SECONDS + CLOCK_SKEW_SECONDS
  if (!await store.setIfAbsent(keys.assertion(digest(signedPart)), '1', lifeSeconds)) {
    throw new OAuthError('invalid_client', 'The client assertion was used before')
  }
}

/**
 * The audience is the issuer alone (draft-ietf-oauth-rfc7523bis): an assertion for several servers, or for an endpoint
 * that another server may name as its own, could be replayed by one of them at this one.
 */
async function verifyAssertion (
  client: Client, assertion: string, { keySets, baseUrl }: Pick<ClientAuthenticationServices, 'keySets' | 'baseUrl'>
): Promise<{ exp: number }> {
  try {
    const { payload, protectedHeader: { typ } } = await verifyWithAnyKey(assertion, keySets.keysOf(client), {
      algorithms: ASSERTION_ALGORITHMS,
      issuer: client.id,
      subject: client.id,
      audience: baseUrl,
      clockTolerance: CLOCK_SKEW_SECONDS,
      requiredClaims: ['exp', 'jti']
    })
    // RFC 7523 section 3: an assertion from the future was made ahead, or by a wrong clock. `iat` may be left out.
    if (payload.iat !== undefined && payload.iat > Date.now() / 1_000 + CLOCK_SKEW_SECONDS) {
      throw new errors.JWTClaimValidationFailed('iat is in the future', payload, 'iat')
    }
    if (typeof payload.aud !== 'string') throw new errors.JWTClaimValidationFailed('aud is a list', payload, 'aud')
    if (typ !== undefined && !ASSERTION_JWT_TYPES.includes(typ.toLowerCase())) {
      throw new errors.JWTInvalid('typ is that of another kind of token')
    }
    return { exp: payload.exp! }
  } catch (err) {
    if (err instanceof ProviderUnavailableError) throw keysUnavailable(err)
    const { code, message } = err as errors.JOSEError
    throw new OAuthError('invalid_client', 'The client assertion is not acceptable', {
      detail: `${code}: ${message}`,
      cause: err
    })
  }
}

/** The client has done nothing wrong, and may send another assertion soon. */
function keysUnavailable (cause: ProviderUnavailableError): OAuthError {
  return new OAuthError('temporarily_unavailable', 'The keys of this client cannot be fetched now; try again shortly', {
    detail: `its jwks_uri: ${cause.message}`, retryAfterSeconds: 5, cause
  })
}

/** Verifies with the key that the header names, or tries each that fits: clients need not send a `kid`. */
async function verifyWithAnyKey (
  assertion: string, keySet: JWTVerifyGetKey, options: JWTVerifyOptions
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(assertion, keySet, options)
  } catch (err) {
    if (!(err instanceof errors.JWKSMultipleMatchingKeys)) throw err
    for await (const key of err) {
      const verified = await jwtVerify(assertion, key, options).catch(ignoreOtherKey)
      if (verified !== undefined) return verified
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

function ignoreOtherKey (err: unknown): undefined {
  if (!(err instanceof errors.JWSSignatureVerificationFailed)) throw err
}
