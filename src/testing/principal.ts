import { GRANT_TYPE_CLAIM, KIND_CLAIM, toPrincipal } from '../tokens/principal.ts'
import type { Principal, PrincipalGrantType, PrincipalKind } from '../tokens/principal.ts'

/** A caller in a test. */
export interface TestPrincipal {
  /** `sub` of the access token. */
  subject: string
  /** `person` by default. */
  kind?: PrincipalKind
  /** `authorization_code` by default, `client_credentials` for a service. */
  grantType?: PrincipalGrantType
  /** None by default. */
  scopes?: readonly string[]
  /** None by default. */
  groups?: readonly string[]
  /** `test-client` by default. */
  clientId?: string
  name?: string
  email?: string
  /** `https://id.example.com` by default. */
  issuer?: string
  /** When the person signed in, in seconds since the epoch; the token does not say it by default. */
  authenticatedAt?: number
  /** `acr`: the level of that sign-in; none by default. */
  acr?: string
  /** Further claims of the access token. They replace the claims of other members. */
  claims?: Readonly<Record<string, unknown>>
}

const HOUR_SECONDS = 3_600

/**
 * Returns the principal that the server would read from an access token of this caller, valid for an hour, with
 * `OIDC_GROUPS_CLAIM=groups`.
 *
 * @throws ClaimError for `claims` of a wrong type
 */
export function createTestPrincipal (described: TestPrincipal): Principal {
  const { subject, scopes = [], groups, clientId = 'test-client', name, email, issuer, claims } = described
  const { authenticatedAt, acr } = described
  const { kind = 'person', grantType = kind === 'service' ? 'client_credentials' : 'authorization_code' } = described
  return toPrincipal({
    iss: issuer ?? 'https://id.example.com',
    sub: subject,
    exp: Math.floor(Date.now() / 1_000) + HOUR_SECONDS,
    client_id: clientId,
    scope: scopes.join(' '),
    ...(groups !== undefined && { groups }),
    ...(name !== undefined && { name }),
    ...(email !== undefined && { email }),
    ...(authenticatedAt !== undefined && { auth_time: authenticatedAt }),
    ...(acr !== undefined && { acr }),
    ...(kind !== 'person' && { [KIND_CLAIM]: kind }),
    ...(grantType !== 'authorization_code' && { [GRANT_TYPE_CLAIM]: grantType }),
    ...claims
  }, { areOwn: true, groupsClaim: 'groups', groupPaths: false })
}
