import { ToolError } from '../../define/tool.ts'
import { MAX_ASSERTION_LENGTH, isOwnAudience, isPassableClaim } from '../../tokens/caller-assertion.ts'
import type { CallerAssertionRequest, IssueCallerAssertion } from '../../tokens/caller-assertion.ts'
import type { Principal } from '../../tokens/principal.ts'

/** Says, signed by Seed, who calls another API; undefined for a caller who is not known. */
export type AssertionFor = (
  principal: Principal | undefined, request: CallerAssertionRequest
) => string | Promise<string>

/**
 * Returns what handlers get assertions from. Audience and claims are the tool's own, so a wrong one is a fault of its
 * author.
 *
 * @param issuer BASE_URL
 * @throws (the returned function) ToolError if the assertion is too long to be sent; Error for an audience or claim
 * that no assertion may have
 */
export function createAssertionFor (issue: IssueCallerAssertion, issuer: string): AssertionFor {
  return (principal, request) => {
    checkRequest(request, issuer)
    const assertion = issue(principal, request)
    if (assertion.length <= MAX_ASSERTION_LENGTH) return assertion
    throw new ToolError(
      `${request.audience} cannot be told who calls: you are in too many groups, or have other long claims ` +
      '(claims of assertionFor)')
  }
}

function checkRequest ({ audience, claims = [] }: CallerAssertionRequest, issuer: string): void {
  if (audience === '') throw new Error('assertionFor needs the audience of the API')
  if (isOwnAudience(audience, issuer)) {
    throw new Error('The audience of assertionFor must be the API, and not Seed itself (BASE_URL)')
  }
  const own = claims.filter((name) => !isPassableClaim(name))
  if (own.length === 0) return
  throw new Error(`The claims of assertionFor must not have ${own.join(', ')}: Seed sets them itself`)
}
