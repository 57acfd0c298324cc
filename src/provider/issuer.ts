/**
 * Returns the issuer that a token must name: OIDC_ISSUER byte for byte (OpenID Connect Core 1.0 section 3.1.3.7).
 *
 * With OIDC_TENANTS it is the issuer of the tenant that the token says it is from, if that tenant is listed: Entra ID
 * writes the tenant into the first path segment.
 *
 * @returns undefined when no issuer is acceptable
 */
export function expectedIssuer (
  { issuer, tenants }: { issuer: string, tenants: readonly string[] }, claims: Record<string, unknown>
): string | undefined {
  if (tenants.length === 0) return issuer
  const { tid } = claims
  return typeof tid === 'string' && tenants.includes(tid) ? tenantIssuer(issuer, tid) : undefined
}

/** The issuer with its first path segment replaced. */
export function tenantIssuer (issuer: string, tenant: string): string {
  return issuer.replace(/^(https?:\/\/[^/]+\/)[^/]+/, (_, origin: string) => origin + tenant)
}
