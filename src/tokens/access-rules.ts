import type { Endpoint } from '../config/endpoints.ts'
import { AccessDeniedError } from '../errors/sign-in-errors.ts'
import type { RefusingEndpoint } from '../errors/sign-in-errors.ts'
import { claimAt, readGroups } from './principal.ts'
import type { GroupOptions } from './principal.ts'

/**
 * Restricts who may use the server among the people that the provider lets sign in: the ACCESS_ settings, or the rules
 * of an MCP endpoint (SEED_ENDPOINTS).
 */
export interface AccessRules extends GroupOptions {
  /** The person must be in one of these groups. */
  groups: readonly string[]
  /** The e-mail address must be in one of these domains, in lower case. */
  emailDomains: readonly string[]
  /** Whether an address counts that the provider does not report as verified. */
  unverifiedEmail: boolean
  /** Google's `hd` must be one of these Workspace domains, in lower case. */
  hostedDomains: readonly string[]
  /** All of these claims must have one of these values, or be an array with one of them in it. */
  claims: ReadonlyArray<{ claim: string, values: readonly string[] }>
  /** ACCESS_CONTACT: a refused person can ask there for access. */
  contact: string | undefined
  /** Set for the rules of an endpoint. */
  endpoint?: RefusingEndpoint
}

/** Returns the rules of an endpoint, which hold besides those of the ACCESS_ settings. */
export function endpointRules ({ name, path, access, server }: Endpoint, general: AccessRules): AccessRules {
  return { ...general, ...access, endpoint: { path, title: name === undefined ? undefined : server.title } }
}

/** Returns the names of the claims that the rules of an endpoint read, besides groups. */
export function claimsOfRules ({ access }: Pick<Endpoint, 'access'>): string[] {
  const { emailDomains, hostedDomains, claims } = access
  return [
    ...(emailDomains.length > 0 ? ['email', 'email_verified'] : []),
    ...(hostedDomains.length > 0 ? ['hd'] : []),
    ...claims.map(({ claim }) => claim)
  ]
}

/**
 * Checks a person against all rules that are set; every one of them must match.
 *
 * @param claims of a verified ID token, or access token in proxy mode
 * @throws AccessDeniedError
 */
export function checkAccess (claims: Readonly<Record<string, unknown>>, rules: AccessRules): void {
  checkGroups(claims, rules)
  checkEmail(claims, rules)
  checkHostedDomain(claims, rules)
  for (const { claim, values: admitted } of rules.claims) {
    const held = claims[claim]
    const values = (Array.isArray(held) ? held : [held]).map(String)
    if (values.some((value) => admitted.includes(value))) continue
    throw new AccessDeniedError('ACCESS_CLAIMS', 'Your account lacks a property that this server requires',
      { ...rules, detail: `claim "${claim}"` })
  }
}

function checkGroups (claims: Readonly<Record<string, unknown>>, rules: AccessRules): void {
  if (rules.groups.length === 0) return
  const groups = readGroups(claims, rules)
  if (groups.some((group) => rules.groups.includes(group))) return
  if (groups.length === 0 && hasOverage(claims)) {
    throw new AccessDeniedError('ACCESS_GROUPS',
      'You are in more groups than the identity provider reports', {
        ...rules,
        detail: 'the token refers to groups elsewhere (_claim_names, hasgroups): ' +
          'let Entra ID send only the groups assigned to the application'
      })
  }
  throw new AccessDeniedError('ACCESS_GROUPS', 'You are not in a group that may use this server', {
    ...rules,
    detail: groups.length === 0 ? describeNoGroups(claims, rules) : compare('the groups', groups, rules.groups)
  })
}

function describeNoGroups (claims: Readonly<Record<string, unknown>>, { groupsClaim }: AccessRules): string {
  const claim = claimAt(claims, groupsClaim)
  const isOtherType = claim !== undefined && claim !== '' && !(Array.isArray(claim) && claim.length === 0)
  if (!isOtherType) return `no groups under "${groupsClaim}" (OIDC_GROUPS_CLAIM)`
  return `"${groupsClaim}" (OIDC_GROUPS_CLAIM) is neither a string nor a list of strings`
}

/** Shows what the provider sent beside what the rule admits: case, ids in place of names, and typos become visible. */
function compare (what: string, sent: readonly string[], admitted: readonly string[]): string {
  const list = (items: readonly string[]) => {
    const text = JSON.stringify(items)
    return text.length <= MAX_LIST ? text : `${text.slice(0, MAX_LIST)}…`
  }
  return `${what} sent ${list(sent)}, admitted ${list(admitted)}`
}

/** Characters of each list in the log. */
const MAX_LIST = 500

/** Whether Entra ID left the groups out because they do not fit into a token. */
function hasOverage (claims: Readonly<Record<string, unknown>>): boolean {
  return claims['hasgroups'] !== undefined || claims['_claim_names'] !== undefined
}

/** Exactly one @, with something before it, and no quotes, spaces or control characters that hide another one. */
const ADDRESS = /^[^@\s"\p{Cc}]+@(?<domain>[^@\s"\p{Cc}]+)$/u

function checkEmail ({ email, email_verified: verified }: Readonly<Record<string, unknown>>, rules: AccessRules): void {
  const { emailDomains, unverifiedEmail } = rules
  if (emailDomains.length === 0) return
  const domain = typeof email === 'string' ? ADDRESS.exec(email)?.groups!['domain']!.toLowerCase() ?? '' : ''
  if (!emailDomains.includes(domain)) {
    throw new AccessDeniedError('ACCESS_EMAIL_DOMAINS', 'Your e-mail address is not one that may use this server', {
      ...rules,
      detail: domain === '' ? 'no e-mail address in the claim "email"' : compare('the domain', [domain], emailDomains)
    })
  }
  if (!unverifiedEmail && verified !== true && verified !== 'true') {
    throw new AccessDeniedError('ACCESS_EMAIL_DOMAINS', 'Your e-mail address is not confirmed at the identity provider',
      { ...rules, detail: 'email_verified is not true (ACCESS_EMAIL_UNVERIFIED)' })
  }
}

/** Checks the claim `hd`, not the address: anyone can open a Google account with a company's address. */
function checkHostedDomain ({ hd }: Readonly<Record<string, unknown>>, rules: AccessRules): void {
  const { hostedDomains } = rules
  if (hostedDomains.length > 0 && !(typeof hd === 'string' && hostedDomains.includes(hd.toLowerCase()))) {
    throw new AccessDeniedError('ACCESS_HOSTED_DOMAINS',
      'Your account is not one of an organisation that may use this server',
      { ...rules, detail: typeof hd === 'string' ? compare('the domain', [hd], hostedDomains) : 'no claim "hd"' })
  }
}
