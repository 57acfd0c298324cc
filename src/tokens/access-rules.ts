import { AccessDeniedError } from '../errors/sign-in-errors.ts'
import { readGroups } from './principal.ts'
import type { GroupOptions } from './principal.ts'

/** Who may sign in, of those whom the provider lets in (the ACCESS_ settings). */
export interface AccessRules extends GroupOptions {
  /** One of these groups. */
  groups: readonly string[]
  /** An e-mail address in one of these domains, in lower case. */
  emailDomains: readonly string[]
  /** An address counts although the provider does not say that it is verified. */
  unverifiedEmail: boolean
  /** Google's `hd`: one of these Workspace domains, in lower case. */
  hostedDomains: readonly string[]
  /** All of these claims, each with this value (or, an array, with it among its values). */
  claims: ReadonlyArray<{ claim: string, value: string }>
  /** Whom a refused person may ask. */
  contact: string | undefined
}

/**
 * Every kind of rule that is set must admit the person.
 * @param claims of a verified ID token, or access token in proxy mode
 * @throws AccessDeniedError
 */
export function checkAccess (claims: Readonly<Record<string, unknown>>, rules: AccessRules): void {
  checkGroups(claims, rules)
  checkEmail(claims, rules)
  checkHostedDomain(claims, rules)
  for (const { claim, value } of rules.claims) {
    const held = claims[claim]
    const values = (Array.isArray(held) ? held : [held]).map(String)
    if (!values.includes(value)) throw new AccessDeniedError('ACCESS_CLAIMS', 'Your account lacks a property that this server asks for', rules.contact, `claim "${claim}"`)
  }
}

function checkGroups (claims: Readonly<Record<string, unknown>>, rules: AccessRules): void {
  if (rules.groups.length === 0) return
  const groups = readGroups(claims, rules)
  if (groups.some((group) => rules.groups.includes(group))) return
  if (groups.length === 0 && hasOverage(claims)) {
    throw new AccessDeniedError('ACCESS_GROUPS', 'You are in so many groups that the identity provider does not tell which', rules.contact,
      'the token refers to groups elsewhere (_claim_names, hasgroups): let Entra ID send only the groups assigned to the application')
  }
  throw new AccessDeniedError('ACCESS_GROUPS', 'You are not in a group that may use this server', rules.contact,
    groups.length === 0 ? `no groups under "${rules.groupsClaim}" (OIDC_GROUPS_CLAIM)` : undefined)
}

/** Entra ID, with more groups than fit into a token. */
function hasOverage (claims: Readonly<Record<string, unknown>>): boolean {
  return claims['hasgroups'] !== undefined || claims['_claim_names'] !== undefined
}

function checkEmail (claims: Readonly<Record<string, unknown>>, { emailDomains, unverifiedEmail, contact }: AccessRules): void {
  if (emailDomains.length === 0) return
  const { email, email_verified: verified } = claims
  const domain = typeof email === 'string' ? email.slice(email.lastIndexOf('@') + 1).toLowerCase() : ''
  if (!emailDomains.includes(domain)) {
    throw new AccessDeniedError('ACCESS_EMAIL_DOMAINS', 'Your e-mail address is not one that may use this server', contact, domain === '' ? 'no email claim' : undefined)
  }
  if (!unverifiedEmail && verified !== true && verified !== 'true') {
    throw new AccessDeniedError('ACCESS_EMAIL_DOMAINS', 'Your e-mail address is not confirmed at the identity provider', contact, 'email_verified is not true (ACCESS_EMAIL_UNVERIFIED)')
  }
}

/** The signed claim, never the address: anyone may have an account with a company's address (Google). */
function checkHostedDomain ({ hd }: Readonly<Record<string, unknown>>, { hostedDomains, contact }: AccessRules): void {
  if (hostedDomains.length > 0 && !(typeof hd === 'string' && hostedDomains.includes(hd.toLowerCase()))) {
    throw new AccessDeniedError('ACCESS_HOSTED_DOMAINS', 'Your account is not one of an organisation that may use this server', contact)
  }
}
