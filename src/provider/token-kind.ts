/** Reads from the claims of a token of a provider, or of another issuer, for whom it is. */

export const CLIENT_CLAIMS = ['client_id', 'azp', 'cid', 'appid'] as const

/** Returns the client that the token was issued to. */
export function readClientId (claims: Readonly<Record<string, unknown>>): string | undefined {
  for (const name of CLIENT_CLAIMS) {
    const value = claims[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

/**
 * Reads from a provider's token whether it is that of a service: its subject is its client (RFC 9068 section 2.2), or
 * it says so as Entra (`idtyp`, which must be asked for, or else `sub` and `oid` are the same) and Auth0 (`gty`) do.
 * Everything else counts as a person's. So does a token of a session at the provider: a mapper that adds `gty` to the
 * tokens of a client adds it to those of the people who use it as well.
 */
export function providerTokenKind (claims: Readonly<Record<string, unknown>>): 'person' | 'service' {
  const { sub, sid } = claims
  const saysService = claims['idtyp'] === 'app' || (claims['gty'] === 'client-credentials' && sid === undefined)
  return saysService || sub === readClientId(claims) || sub === claims['oid'] ? 'service' : 'person'
}
