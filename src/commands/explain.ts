import type { Config } from '../config/config.ts'
import { describeDefinition } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import { requirementsOf } from '../policy/requirements.ts'
import { parseUriTemplate } from '../define/uri-template.ts'
import { claimAt, toPrincipal } from '../tokens/principal.ts'
import { createPolicyEvaluator } from '../policy/evaluator.ts'

/** What is asked about: one of the first three, and by whom. */
export interface ExplainOptions {
  tool?: string | undefined
  prompt?: string | undefined
  /** The URI of a resource, or a template as it was declared. */
  resource?: string | undefined
  /** Of an access token; undefined for a caller without one. */
  claims: Record<string, unknown> | undefined
  /** Instead of those in the claims. */
  scopes?: string | undefined
}

export interface Explanation {
  allowed: boolean
  /** For the operator: the verdict, and every reason for it. */
  text: string
}

/**
 * `seed explain`: why a caller may use something, or may not. The judgement is that of the server.
 *
 * @throws Error with a sentence for the operator; ClaimError
 */
export function explain ({ oidc, scopeHierarchy }: Pick<Config, 'oidc' | 'scopeHierarchy'>, options: ExplainOptions, definitions: readonly Definition[]): Explanation {
  const definition = find(options, definitions)
  const principal = options.claims && toPrincipal({
    iss: oidc.issuer,
    sub: 'somebody',
    exp: 0,
    ...options.claims,
    ...(options.scopes !== undefined && { scope: options.scopes, scp: undefined })
  }, { groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths })
  const needs = requirementsOf(definitions, scopeHierarchy, oidc.scopes)
  const { evaluate } = createPolicyEvaluator({ hierarchy: scopeHierarchy, scopes: [...oidc.scopes, ...needs.scopes] })
  const { missingScopes, refusals } = evaluate(definition, principal)
  const allowed = missingScopes.length === 0 && refusals.length === 0
  const { scopes = [], groups = [], claims = {} } = definition
  return {
    allowed,
    text: [
      `${describeDefinition(definition)}: ${verdict(refusals, missingScopes)}`,
      ...refusals.map((refusal) => `- ${refusal}`),
      ...(missingScopes.length > 0 ? [`- the access token lacks the scopes ${missingScopes.join(', ')}`] : []),
      `It asks for: ${[scopes.length > 0 && `all of the scopes ${scopes.join(', ')}`, groups.length > 0 && `one of the groups ${groups.join(', ')}`, ...Object.entries(claims).map(([name, value]) => `claim ${name} ${JSON.stringify(value)}`)].filter(Boolean).join('; ') || 'nothing'}`,
      ...(principal === undefined
        ? []
        : [
            `Scopes of the token: ${[...principal.scopes].join(', ') || 'none'}`,
            `Groups (OIDC_GROUPS_CLAIM=${oidc.groupsClaim}): ${principal.groups.join(', ') || describeGroups(claimAt(principal.claims, oidc.groupsClaim))}`
          ])
    ].join('\n')
  }
}

function verdict (refusals: readonly string[], missingScopes: readonly string[]): string {
  if (refusals.length > 0) return 'hidden from this caller, as if it did not exist'
  return missingScopes.length > 0 ? 'shown, but a call is answered with 403 insufficient_scope: the client may ask for more scopes' : 'allowed'
}

function describeGroups (found: unknown): string {
  if (found === undefined) return 'none, as the token has no such claim'
  return Array.isArray(found) && found.length === 0 ? 'none, as the list is empty' : `none, as the claim is no list of strings: ${JSON.stringify(found)}`
}

function find ({ tool, prompt, resource }: ExplainOptions, definitions: readonly Definition[]): Definition {
  const asked = new Set(Object.entries({ tool, prompt, resource, 'resource-template': resource }).map(([kind, name]) => `${kind} ${name}`))
  const found = definitions.find((definition) => asked.has(`${definition.kind} ${nameOf(definition)}`)) ??
    definitions.find((definition) => definition.kind === 'resource-template' && resource !== undefined && parseUriTemplate(definition.uriTemplate).match(resource) !== undefined)
  if (found === undefined) throw new Error(`This server has nothing of this name. It has:\n${definitions.map(describeDefinition).sort().join('\n')}`)
  return found
}

function nameOf (definition: Definition): string {
  switch (definition.kind) {
    case 'resource': return definition.uri
    case 'resource-template': return definition.uriTemplate
    default: return definition.name
  }
}
