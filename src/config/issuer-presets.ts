import type { ClaimMatch } from './claim-match.ts'

export const ISSUER_PRESET_NAMES = ['github-actions', 'gitlab-ci', 'kubernetes', 'spiffe'] as const
export type IssuerPresetName = typeof ISSUER_PRESET_NAMES[number]

/** A platform that gives its workloads tokens: what is known about them, and what a rule must pin. */
export interface IssuerPreset {
  /** The public issuer, where there is one. */
  issuer: string | undefined
  algorithms: readonly string[]
  /** Returns what a rule lacks, or what is unsafe in it, with the reason. */
  checkMatch (match: readonly ClaimMatch[], trustDomain: string | undefined): string[]
}

/** By name; '' for an issuer without preset. */
export const ISSUER_PRESETS: Readonly<Record<IssuerPresetName | '', IssuerPreset>> = {
  '': { issuer: undefined, algorithms: ['RS256', 'ES256'], checkMatch: checkAnyMatch },
  'github-actions': {
    issuer: 'https://token.actions.githubusercontent.com', algorithms: ['RS256'], checkMatch: checkGitHubMatch
  },
  'gitlab-ci': { issuer: 'https://gitlab.com', algorithms: ['RS256'], checkMatch: checkGitLabMatch },
  kubernetes: { issuer: undefined, algorithms: ['RS256', 'ES256'], checkMatch: checkKubernetesMatch },
  spiffe: { issuer: undefined, algorithms: ['RS256', 'ES256', 'ES384'], checkMatch: checkSpiffeMatch }
}

/**
 * The preset of the public issuers even where none is named: their tokens need its checks. Below its origin GitHub has
 * an issuer for each enterprise that wants its own.
 */
export function presetNameOf (
  { preset, issuer }: { preset?: IssuerPresetName, issuer?: string }
): IssuerPresetName | '' {
  if (preset !== undefined || issuer === undefined) return preset ?? ''
  const origin = URL.canParse(issuer) ? new URL(issuer).origin : ''
  return ISSUER_PRESET_NAMES.find((name) => ISSUER_PRESETS[name].issuer === origin) ?? ''
}

/** Claims that say which workload or application a token is for, in the tokens of most issuers. */
const IDENTITY_CLAIMS = ['sub', 'client_id', 'azp', 'appid', 'cid', 'oid']

function checkAnyMatch (match: readonly ClaimMatch[]): string[] {
  if (IDENTITY_CLAIMS.some((claim) => pins(match, claim))) return []
  return [`must pin who the token is for: one of ${IDENTITY_CLAIMS.join(', ')}, with exact values`]
}

const GITHUB_ADVICE = 'The token of a pull request names the same repository, so that without it whoever opens one ' +
  'may call tools'

/**
 * Events that only people with rights in a repository trigger. All others, and those to come, are refused beside a
 * `ref` alone: many run with the `ref` of a branch of the repository, although outsiders start them, such as with a
 * pull request or a comment.
 */
const INSIDER_EVENTS = [
  'push', 'workflow_dispatch', 'schedule', 'release', 'repository_dispatch', 'deployment', 'merge_group'
]

const isInsiderEvent = (event: string): boolean => INSIDER_EVENTS.includes(event)

/** https://docs.github.com/en/actions/reference/security/oidc */
function checkGitHubMatch (match: readonly ClaimMatch[]): string[] {
  const isNumber = (value: string): boolean => /^\d+$/.test(value)
  const problems: string[] = []
  const pinsOwner = pins(match, 'repository_owner_id', isNumber)
  const isNarrowed = has(match, 'repository') || has(match, 'job_workflow_ref')
  if (!pins(match, 'repository_id', isNumber) && !(pinsOwner && isNarrowed)) {
    problems.push('must pin repository_id (or repository_owner_id with repository or job_workflow_ref), as numbers: ' +
      'a name alone can be registered by somebody else after a rename')
  }
  if (!['ref', 'environment', 'job_workflow_ref'].some((claim) => has(match, claim))) {
    problems.push(`must pin ref, environment or job_workflow_ref. ${GITHUB_ADVICE}`)
  }
  const pinsRefAlone = has(match, 'ref') && !has(match, 'environment') && !has(match, 'job_workflow_ref')
  if (pinsRefAlone && !pins(match, 'event_name', isInsiderEvent)) {
    problems.push('pins ref without environment or job_workflow_ref: it must also pin event_name, to one or more of ' +
      `${INSIDER_EVENTS.join(', ')}. A workflow on pull_request_target has the ref of the target branch, and whoever ` +
      'opens a pull request starts it')
  }
  if (!textsOf(match, 'ref').every((ref) => /^refs\/(heads|tags)\//.test(ref))) {
    problems.push(`has a ref that does not begin with refs/heads/ or refs/tags/. ${GITHUB_ADVICE}`)
  }
  if (!textsOf(match, 'job_workflow_ref').every((ref) => /@(refs\/(heads|tags)\/.|[0-9a-f]{40}$)/.test(ref))) {
    problems.push('has a job_workflow_ref that does not end with @refs/heads/…, @refs/tags/… or a commit. ' +
      GITHUB_ADVICE)
  }
  return problems
}

/** https://docs.gitlab.com/ci/secrets/id_token_authentication/ */
function checkGitLabMatch (match: readonly ClaimMatch[]): string[] {
  const isTrue = (value: string): boolean => value === 'true'
  const problems: string[] = []
  if (!pins(match, 'project_id', (value) => /^\d+$/.test(value))) {
    problems.push('must pin project_id, as a number: a path alone can be registered by somebody else after a rename')
  }
  const isRefPinned = has(match, 'ref') && pins(match, 'ref_protected', isTrue)
  const isEnvironmentPinned = has(match, 'environment') && pins(match, 'environment_protected', isTrue)
  if (!isRefPinned && !isEnvironmentPinned) {
    problems.push('must pin ref with ref_protected "true", or environment with environment_protected "true": ' +
      'otherwise every developer can run a job that fits, in a branch of their own')
  }
  return problems
}

function checkKubernetesMatch (match: readonly ClaimMatch[]): string[] {
  const isAccount = (sub: string): boolean =>
    /^system:serviceaccount:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(sub)
  if (pins(match, 'sub', isAccount)) return []
  return ['must pin sub as system:serviceaccount:NAMESPACE:NAME, exactly']
}

/** https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md */
function checkSpiffeMatch (match: readonly ClaimMatch[], trustDomain: string | undefined): string[] {
  const prefix = `spiffe://${trustDomain}/`
  const isId = (sub: string): boolean => sub.startsWith(prefix) &&
    sub.slice(prefix.length).split('/').every((part) => /^[A-Za-z0-9._-]+$/.test(part) && !/^\.\.?$/.test(part))
  if (pins(match, 'sub', isId)) return []
  return [`must pin sub as a SPIFFE ID of its trust_domain, exactly, such as ${prefix}job`]
}

function has (match: readonly ClaimMatch[], name: string): boolean {
  return match.some(({ claim }) => claim === name)
}

/** Whether a claim has exact values alone, all of this form. */
function pins (match: readonly ClaimMatch[], name: string, isValid: (value: string) => boolean = () => true): boolean {
  return match.some(({ claim, values, patterns }) =>
    claim === name && patterns.length === 0 && values.every(isValid))
}

/** The values and patterns of a claim. */
function textsOf (match: readonly ClaimMatch[], name: string): string[] {
  return match.filter(({ claim }) => claim === name).flatMap(({ values, patterns }) => [...values, ...patterns])
}
