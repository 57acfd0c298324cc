import { acceptsClaim } from '../config/claim-match.ts'
import type { IssuerRule } from '../config/trusted-issuers.ts'
import { WorkloadTokenError } from './workload-token-error.ts'

/**
 * Returns the first rule that the claims fit.
 * @throws WorkloadTokenError if there is none, or if they also fit a rule for another service
 */
export function findRule (rules: readonly IssuerRule[], claims: Readonly<Record<string, unknown>>): IssuerRule {
  const fitting = rules.filter((rule) => mismatches(rule, claims).length === 0)
  const [rule] = fitting
  if (rule === undefined) {
    throw new WorkloadTokenError('no rule of its issuer fits its claims', { detail: describeMismatches(rules, claims) })
  }
  const other = fitting.find(({ service }) => service !== rule.service)
  if (other === undefined) return rule
  throw new WorkloadTokenError('rules of two services fit its claims', {
    detail: `its claims fit the rules for "${rule.service}" and "${other.service}": make them exclude each other`
  })
}

/** The names of the claims that do not fit. A claim that is inherited from Object is none. */
function mismatches ({ match }: IssuerRule, claims: Readonly<Record<string, unknown>>): string[] {
  return match
    .filter((one) => !Object.hasOwn(claims, one.claim) || !acceptsClaim(one, claims[one.claim]))
    .map(({ claim }) => claim)
}

/** Names the claims, and no value of theirs, of the rules that fit best. */
function describeMismatches (rules: readonly IssuerRule[], claims: Readonly<Record<string, unknown>>): string {
  const nearest = rules
    .map((rule) => ({ service: rule.service, names: mismatches(rule, claims) }))
    .sort((one, other) => one.names.length - other.names.length)
    .slice(0, 3)
  const wishes = nearest.map(({ service, names }) => `"${service}" wants another ${names.join(', ')}`)
  return `no rule fits: ${wishes.join('; ')}`
}
