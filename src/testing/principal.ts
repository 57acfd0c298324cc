import { toPrincipal } from '../tokens/principal.ts'
import type { Principal } from '../tokens/principal.ts'

/** A caller, as plain as a test needs it. */
export interface TestPrincipal {
  /** `sub` of the token. */
  subject: string
  scopes?: readonly string[]
  groups?: readonly string[]
  clientId?: string
  name?: string
  email?: string
  issuer?: string
  /** Other claims of the token. */
  claims?: Readonly<Record<string, unknown>>
}

const HOUR_SECONDS = 3_600

/** What the server would make of a token that says this, with OIDC_GROUPS_CLAIM=groups. @throws ClaimError */
export function createTestPrincipal ({ subject, scopes = [], groups, clientId = 'test-client', name, email, issuer = 'https://id.example.com', claims }: TestPrincipal): Principal {
  return toPrincipal({
    iss: issuer,
    sub: subject,
    exp: Math.floor(Date.now() / 1_000) + HOUR_SECONDS,
    client_id: clientId,
    scope: scopes.join(' '),
    ...(groups !== undefined && { groups }),
    ...(name !== undefined && { name }),
    ...(email !== undefined && { email }),
    ...claims
  }, { groupsClaim: 'groups', groupPaths: false })
}
