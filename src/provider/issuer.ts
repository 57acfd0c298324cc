/**
 * The issuer a token must name: OIDC_ISSUER byte for byte (OpenID Connect Core 1.0 section 3.1.3.7). With OIDC_TENANTS
 * it is that of the tenant the token says it is from, when the list has it: Entra ID's tokens of several tenants name
 * each its own, and the first path segment is where.
 *
 * @returns undefined when no issuer would do
 */
export function expectedIssuer ({ issuer, tenants }: { issuer: string, tenants: readonly string[] }, claims: Record<string, unknown>): string | undefined {
  if (tenants.length === 0) return issuer
  const { tid } = claims
  return typeof tid === 'string' && tenants.includes(tid) ? tenantIssuer(issuer, tid) : undefined
}

/** The issuer with its first path segment replaced. */
export function tenantIssuer (issuer: string, tenant: string): string {
  return issuer.replace(/^(https?:\/\/[^/]+\/)[^/]+/, (_, origin: string) => origin + tenant)
}
