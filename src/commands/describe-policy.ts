import type { Policy } from '../define/policy.ts'

/** Says in one line what a policy asks for. */
export function describePolicy (policy: Policy): string {
  const { scopes = [], groups = [], claims = {}, principalKind, maxAge, acr } = policy
  const rules = [
    ...(principalKind === undefined ? [] : [`a ${principalKind}`]),
    ...(scopes.length > 0 ? [`all of the scopes ${scopes.join(', ')}`] : []),
    ...(groups.length > 0 ? [`one of the groups ${groups.join(', ')}`] : []),
    ...Object.entries(claims).map(([name, value]) => `claim ${name} ${JSON.stringify(value)}`),
    ...(maxAge === undefined ? [] : [`a sign-in within ${maxAge} s (maxAge)`]),
    ...(acr === undefined ? [] : [`one of the levels (acr) ${acr.join(', ')}`])
  ]
  return rules.join('; ') || 'nothing'
}
