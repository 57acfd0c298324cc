/**
 * Who may use something. All that is set must hold; the same rule decides what is listed and what may be called.
 * It needs a signed-in caller: with AUTH_REQUIRED=false, what has a policy is not offered.
 */
export interface Policy {
  /** The access token must have all of these, or wider ones (SCOPE_HIERARCHY). */
  scopes?: readonly string[]
  /** The caller must be in one of these groups (OIDC_GROUPS_CLAIM). */
  groups?: readonly string[]
  /** Claims of the access token: each must be one of the values, or a list that holds one. */
  claims?: Readonly<Record<string, ClaimValue | readonly ClaimValue[]>>
}

export type ClaimValue = string | number | boolean
