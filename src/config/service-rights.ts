import { Type } from 'typebox'

/** The rights of a service, as the operator wrote them. */
export interface ServiceRights {
  scopes: readonly string[]
  /** The claims of its access tokens, its groups among them. */
  claims: Readonly<Record<string, unknown>>
}

/** The name of a service, which is the subject and the client id of its tokens. */
export const ServiceNameSchema = Type.String({ minLength: 1, maxLength: 256, pattern: '^[\\x21-\\x7e]+$' })

/** The members of a service in JSON settings (RFC 7591 section 2 has `scope`). */
export const SERVICE_MEMBERS = {
  scope: Type.Optional(Type.String({ maxLength: 4096, pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e ]*$' })),
  groups: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 100 })),
  claims: Type.Optional(Type.Object({}, { additionalProperties: true }))
}

interface ServiceMembers {
  scope?: string
  groups?: string[]
  claims?: object
}

/** Claims that Seed writes itself, or that would make a token another kind of token (src/tokens/claims.ts). */
const RESERVED_CLAIMS = [
  'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'scope', 'scp', 'grant', 'groups', 'azp', 'cnf', 'act',
  'typ', 'token_use', 'events', 'nonce', 'at_hash', 'c_hash'
]

export function reservedClaims (claims: object = {}): string[] {
  return Object.keys(claims).filter((name) => RESERVED_CLAIMS.includes(name) || name.startsWith('seed_'))
}

/** Ids that other kinds of clients have: registered ones, and URLs of metadata documents. */
export function isIdOfOtherClients (id: string): boolean {
  return id.startsWith('seed-') || id.includes('://')
}

export function toServiceRights ({ scope = '', groups = [], claims }: ServiceMembers): ServiceRights {
  return { scopes: scope.split(' ').filter((name) => name !== ''), claims: { ...claims, groups } }
}
