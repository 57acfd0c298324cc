import type { Endpoint } from '../../../config/endpoints.ts'
import { digest } from '../../../crypto/hash.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import { checkAccess, claimsOfRules, endpointRules } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import { readAuthentication } from '../../../tokens/authentication.ts'
import { clientKey, subjectKey, withoutGrantKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { JWT_BEARER } from '../../protocol/grant-types.ts'
import type { TokenIssuer } from '../mode.ts'
import { invalidAssertion, verifyIdentityAssertion } from './identity-assertion.ts'
import type { IdentityAssertion, IdentityAssertionOptions } from './identity-assertion.ts'
import { personClaims } from './identity.ts'
import type { IssueTokenWithoutGrant } from './tokens-without-grant.ts'
import { tokenClaims } from './token-claims.ts'

export interface EnterpriseAuthorizationOptions {
  assertions: IdentityAssertionOptions
  /** The rules of the ACCESS_ settings, and where the provider's claims have groups. */
  access: AccessRules
  /** Scopes that an ID-JAG which names none may stand for: OIDC_SCOPES. */
  commonScopes: readonly string[]
  /** Scopes that only some tools need. */
  toolScopes: readonly string[]
  /** Claims that policies of tools need. */
  policyClaims: readonly string[]
  store: Store
  revocations: Pick<Revocations, 'isRevoked'>
  issueTokenWithoutGrant: IssueTokenWithoutGrant
}

/** The longest life of an access token for an ID-JAG: after it, the provider decides again. */
const MAX_TTL_SECONDS = 900

/**
 * Makes the grant type jwt-bearer for ID-JAGs (RFC 7523 section 2.1, Enterprise-Managed Authorization): the company's
 * provider decides which client reaches this server for whom, without a browser. The person is the same as after a
 * sign-in. There is no refresh token: the client comes back with a new ID-JAG, and so the provider stays in control.
 */
export function createEnterpriseAuthorization (
  options: EnterpriseAuthorizationOptions
): NonNullable<TokenIssuer['jwtBearer']> {
  const { access, store, revocations, issueTokenWithoutGrant } = options

  /** Access tokens and ID-JAGs end alike: what was issued before the revocation is no longer accepted. */
  async function checkNotRevoked ({ subject, issuedAt }: IdentityAssertion, clientId: string): Promise<void> {
    const owners = [subjectKey(subject), clientKey(clientId)]
    if (!await revocations.isRevoked([...owners, ...owners.map(withoutGrantKey)], issuedAt)) return
    throw invalidAssertion('access was revoked after it was issued: get another one')
  }

  /** @throws StoreUnavailableError, as an ID-JAG that may have been used is not accepted */
  async function markUsed ({ issuer, subject, jti, expiresAt }: IdentityAssertion): Promise<void> {
    const used = keys.assertion(digest(JSON.stringify(['id-jag', issuer, subject, jti])))
    // A NumericDate may have a fraction (RFC 7519 section 2).
    const left = Math.ceil(expiresAt) - Math.floor(Date.now() / 1_000) + options.assertions.clockSkewSeconds
    if (await store.setIfAbsent(used, '1', Math.max(1, left))) return
    throw new OAuthError('invalid_grant', 'The ID-JAG was used before: get another one', {
      detail: 'its jti was used before', causeCode: 'identity_assertion_replayed'
    })
  }

  return async function jwtBearer ({ assertion, scope, target }, client) {
    if (client.kind === 'unregistered') {
      throw new OAuthError('unauthorized_client', 'Only a client of OAUTH_CLIENTS, or one with a metadata document, ' +
        'may use an ID-JAG', { detail: 'the id belongs to nobody: any program can call itself so' })
    }
    const verified = await verifyIdentityAssertion(assertion, { clientId: client.id, target }, options.assertions)
    const claims = personClaims(verified.claims)
    const { endpoint } = verified
    checkPerson(claims, access, endpoint)
    const scopes = grantedScopes(scope, verified.scope, {
      commonScopes: [...new Set([...endpoint.scopes, ...options.commonScopes])], toolScopes: options.toolScopes
    })
    await checkNotRevoked(verified, client.id)
    await markUsed(verified)
    const tokens = await issueTokenWithoutGrant({
      resource: endpoint.resource,
      subject: verified.subject,
      clientId: client.id,
      kind: 'person',
      grantType: JWT_BEARER,
      scope: scopes,
      authentication: readAuthentication(verified.claims),
      identity: tokenClaims(claims, scopes, access, [...options.policyClaims, ...claimsOfRules(endpoint)]),
      maxTtlSeconds: MAX_TTL_SECONDS
    })
    // A revocation after this sees a token that is older than its mark; one before is seen here.
    await checkNotRevoked(verified, client.id)
    return tokens
  }
}

/** ID-JAGs have few claims: a rule that needs one that is not there refuses. */
function checkPerson (claims: Readonly<Record<string, unknown>>, access: AccessRules, endpoint: Endpoint): void {
  try {
    checkAccess(claims, access)
    checkAccess(claims, endpointRules(endpoint, access))
  } catch (err) {
    const { message, detail, causeCode } = err as AccessDeniedError
    throw new OAuthError('invalid_grant', `${message} (access rules see the claims of the ID-JAG)`, {
      detail, causeCode, cause: err
    })
  }
}

/**
 * Returns the scopes to grant, space-separated: those that the request asks for, that the ID-JAG has, and that this
 * server knows. An ID-JAG without `scope` stands for OIDC_SCOPES and for none that only tools need.
 *
 * @throws OAuthError invalid_scope if none is left (RFC 6749 section 5.2)
 */
function grantedScopes (
  requested: string | undefined,
  allowed: string | undefined,
  { commonScopes, toolScopes }: Pick<EnterpriseAuthorizationOptions, 'commonScopes' | 'toolScopes'>
): string {
  const known = allowed === undefined ? commonScopes : [...commonScopes, ...toolScopes]
  const [wanted, held] = [requested?.split(' '), allowed?.split(' ')]
  // There is no refresh token, which offline_access is about.
  const granted = known.filter((scope) => scope !== 'offline_access' &&
    (wanted?.includes(scope) ?? true) && (held?.includes(scope) ?? true))
  if (granted.length > 0) return granted.join(' ')
  const message = 'No scope is left: the request, the ID-JAG and this server have none in common'
  throw new OAuthError('invalid_scope', message, { causeCode: 'scope_refused' })
}
