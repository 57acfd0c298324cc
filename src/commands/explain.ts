import { readFile } from 'node:fs/promises'
import type { Config } from '../config/config.ts'
import { hasAccessRules } from '../config/endpoints.ts'
import type { Endpoint } from '../config/endpoints.ts'
import { describeDefinition } from '../define/definition.ts'
import type { AccessDeniedError } from '../errors/sign-in-errors.ts'
import type { Definition } from '../define/definition.ts'
import type { DeclaredMount } from '../mounts/settings/define-mount.ts'
import type { MountInspection, MountedOffer } from '../mounts/inspect.ts'
import { parseUriTemplate } from '../define/uri-template.ts'
import { printableJson, withoutControls } from '../json/printable.ts'
import { createPolicyEvaluator } from '../policy/evaluator.ts'
import type { Verdict } from '../policy/evaluator.ts'
import { requirementsOf } from '../policy/requirements.ts'
import { createUriCheck, describeRuleAgainst } from '../selection/endpoint-selection.ts'
import { checkAccess, endpointRules } from '../tokens/access-rules.ts'
import type { AccessRules } from '../tokens/access-rules.ts'
import { GRANT_TYPE_CLAIM, KIND_CLAIM, claimAt, toPrincipal } from '../tokens/principal.ts'
import type { Principal, PrincipalKind, PrincipalOptions } from '../tokens/principal.ts'
import { UsageError, defineCommand } from './command.ts'
import { describePolicy } from './describe-policy.ts'
import { findEndpoint } from './endpoint-option.ts'

export const command = defineCommand({
  description: [
    'Explains why a caller may or may not use a tool, prompt or resource. For one of a mounted MCP server ' +
    '(SEED_MOUNTS) it connects to that server.',
    'The exit code is 0 if the caller may use it, and 1 otherwise.'
  ],
  examples: [
    ['seed explain --tool close_ticket --claims ada.json', 'May the owner of these claims use the tool?'],
    ['seed explain --tool close_ticket --claims ada.json --scopes "openid tickets:write"', 'And with other scopes?'],
    ['seed explain --resource tickets://open', 'May somebody who is not signed in read the resource?'],
    ['seed explain --tool close_ticket --endpoint sales --claims ada.json', 'And at the MCP endpoint /mcp/sales?']
  ],

  declare: (parser) => parser
    .option('--tool <name>', 'the name of a tool')
    .option('--prompt <name>', 'the name of a prompt')
    .option('--resource <uri>', 'the URI of a resource, or a template')
    .option('--claims <file>', 'a file with the claims of an access token, as JSON; without it, nobody is signed in')
    .option('--kind <kind>', 'person or service, instead of what the claims say')
    .option('--scopes <scopes>', 'scopes of the access token, separated by spaces, instead of those in the file')
    .option('--endpoint <name>', 'an MCP endpoint of SEED_ENDPOINTS, by its name or path; /mcp by default'),

  async run ({ claims: file, scopes, kind, endpoint: name, ...subject }, { readConfig, loadOffers, print }) {
    if (Object.keys(subject).length !== 1) throw new UsageError('name one tool, prompt or resource')
    const config = await readConfig()
    const endpoint = findEndpoint(name, config.endpoints)
    if (kind !== undefined && !isKind(kind)) throw new UsageError('--kind is person or service')
    const claims = file === undefined ? undefined : await readClaims(file)
    const { definitions: own, mounts } = await loadOffers(config)
    const mounted = await inspectMountOf(Object.values(subject)[0]!, config, own, mounts)
    const isSignedIn = scopes !== undefined || kind !== undefined
    const caller = { claims: isSignedIn ? claims ?? {} : claims, scopes, kind }
    const { isAllowed, text } = explain(config, { ...subject, ...caller, endpoint }, own, mounted)
    print(text)
    return isAllowed ? 0 : 1
  }
})

/** Connects to the mounted server that offers something of this name, if the name is one of a mount. */
async function inspectMountOf (
  name: string, config: Config, own: readonly Definition[], declared: readonly DeclaredMount[]
): Promise<MountInspection | undefined> {
  const { mountsFile } = config
  if (mountsFile === undefined && declared.length === 0) return undefined
  const { findMountOf, inspectMounts, readMounts } = await import('../mounts/inspect.ts')
  const mounts = readMounts(mountsFile, { ...config, declared })
  const mount = findMountOf(name, mounts)
  if (mount === undefined) return undefined
  const [inspection] = await inspectMounts({ mounts, chosen: [mount], own, config })
  return inspection
}

function isKind (kind: string): kind is PrincipalKind {
  return kind === 'person' || kind === 'service'
}

async function readClaims (file: string): Promise<Record<string, unknown>> {
  const claims: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) {
    throw new Error(`${file} must have one JSON object: the claims of an access token`)
  }
  return claims as Record<string, unknown>
}

/** The definition in question, by one of the first three members, and the caller. */
export interface ExplainOptions {
  tool?: string | undefined
  prompt?: string | undefined
  /** The URI of a resource, or a template as it is defined. */
  resource?: string | undefined
  /** Claims of an access token; undefined for a caller who is not signed in. */
  claims: Record<string, unknown> | undefined
  /** Scopes instead of those in the claims, separated by spaces. */
  scopes?: string | undefined
  /** The kind of caller instead of what the claims say. */
  kind?: PrincipalKind | undefined
  /** The endpoint at which the caller would use it; `/mcp` by default. */
  endpoint?: Endpoint | undefined
}

export interface Explanation {
  isAllowed: boolean
  /** The verdict and every reason for it, for the operator. */
  text: string
}

/**
 * Explains why a caller may or may not use a definition, with the same evaluator as the server.
 *
 * @param mounted the mount that the name belongs to, if there is one
 * @throws Error if there is no such definition; ClaimError for claims of a wrong type
 */
export function explain (
  config: Pick<Config, 'access' | 'baseUrl' | 'endpoints' | 'oauth' | 'oidc' | 'scopeHierarchy' | 'token'>,
  options: ExplainOptions,
  own: readonly Definition[],
  mounted?: MountInspection
): Explanation {
  const { oidc, scopeHierarchy: hierarchy, token: { clockSkewSeconds } } = config
  const offers = mounted?.offers ?? []
  const definitions = [...own, ...offers.map(({ definition }) => definition)]
  const definition = findDefinition(options, definitions, mounted)
  const offer = offers.find((one) => one.definition === definition)
  const reading = readingOf(options.claims ?? {}, config)
  const principal = options.claims && createPrincipal(options.claims, options, { ...reading, issuer: oidc.issuer })
  const { scopes } = requirementsOf(definitions, hierarchy, oidc.scopes)
  const evaluator = createPolicyEvaluator({ hierarchy, scopes: [...oidc.scopes, ...scopes], clockSkewSeconds })
  const { endpoints } = config
  const { endpoint = endpoints[0]! } = options
  const place = `${describeDefinition(definition)}${endpoints.length === 1 ? '' : ` at ${endpoint.path}`}`
  const rule = ruleAgainst(endpoint, definition, options)
  if (rule !== undefined) {
    const others = endpoints.filter((other) => ruleAgainst(other, definition, options) === undefined)
    return {
      isAllowed: false,
      text: `${place}: not offered, as if it did not exist: ${endpoint.path} excludes it (${rule})\n` +
        `It is offered at: ${others.map(({ path }) => path).join(', ') || 'no endpoint'}`
    }
  }
  if (offer !== undefined && isUnreadable(offer, options)) {
    return {
      isAllowed: false,
      text: `${place}: this URI is not offered, as if it did not exist: ` +
        `mount "${mounted!.mount.name}" excludes it (resources)`
    }
  }
  if (principal === undefined && hasAccessRules(endpoint)) {
    return {
      isAllowed: false,
      text: `${place}: the endpoint lets nobody in without sign-in, whatever they call\n` +
        `- access of ${endpoint.path} (SEED_ENDPOINTS) judges the claims of an access token (--claims)`
    }
  }
  const refusal = principal && findAccessRefusal(principal, endpoint, { ...config.access, ...reading })
  if (refusal !== undefined) {
    return {
      isAllowed: false,
      text: [
        `${place}: the endpoint lets nobody in like this caller, whatever they call`,
        `- ${refusal}`,
        ...describePrincipal(principal!, reading)
      ].join('\n')
    }
  }
  const verdict = evaluator.evaluate(definition, principal)
  const { missingScopes, unmetAuthentication, refusals } = verdict
  return {
    isAllowed: evaluator.isAllowed(definition, principal),
    text: [
      `${place}: ${describeVerdict(verdict)}`,
      ...refusals.map((refusal) => `- ${refusal}`),
      ...unmetAuthentication.map((reason) => `- ${reason}`),
      ...(missingScopes.length > 0 ? [`- the access token lacks the scopes ${missingScopes.join(', ')}`] : []),
      `It asks for: ${describePolicy(definition)}`,
      ...(offer === undefined ? [] : describeMount(mounted!, offer)),
      ...(principal === undefined ? [] : describePrincipal(principal, reading))
    ].join('\n')
  }
}

/** Returns the rule of an MCP endpoint that refuses a caller, and what it compared; undefined if none does. */
function findAccessRefusal ({ claims }: Principal, endpoint: Endpoint, general: AccessRules): string | undefined {
  try {
    checkAccess(claims, endpointRules(endpoint, general))
    return undefined
  } catch (err) {
    return (err as AccessDeniedError).detail
  }
}

/**
 * Returns how the server reads the claims. Tokens that it issues itself (broker mode) have the groups under one name,
 * and say what kind of caller it is. Those of another `iss` are read as the provider's.
 */
function readingOf (
  claims: Record<string, unknown>,
  { baseUrl, oauth, oidc: { groupsClaim, preset: { groupPaths } } }: Pick<Config, 'baseUrl' | 'oauth' | 'oidc'>
): Required<Pick<PrincipalOptions, 'areOwn' | 'groupsClaim' | 'groupPaths'>> {
  const { iss = baseUrl } = claims
  const areOwn = (oauth.mode === 'broker' && iss === baseUrl) || KIND_CLAIM in claims || GRANT_TYPE_CLAIM in claims
  return areOwn ? { areOwn, groupsClaim: 'groups', groupPaths: false } : { areOwn, groupsClaim, groupPaths }
}

function createPrincipal (
  claims: Record<string, unknown>,
  { scopes, kind }: Pick<ExplainOptions, 'scopes' | 'kind'>,
  { issuer, ...reading }: PrincipalOptions & { issuer: string }
): Principal {
  const required = { iss: issuer, sub: 'somebody', exp: 0 }
  const replaced = scopes === undefined ? {} : { scope: scopes, scp: undefined }
  const principal = toPrincipal({ ...required, ...claims, ...replaced }, reading)
  return kind === undefined ? principal : { ...principal, kind }
}

/** Says why an MCP endpoint does not offer a definition, or of a template the URI in question; undefined if it does. */
function ruleAgainst (endpoint: Endpoint, definition: Definition, { resource }: ExplainOptions): string | undefined {
  const rule = describeRuleAgainst(definition, endpoint)
  if (rule !== undefined || definition.kind !== 'resource-template' || definition.uriTemplate === resource) return rule
  const isReadable = createUriCheck(endpoint.selection)?.(resource!, definition.uriTemplate) ?? true
  return isReadable ? undefined : 'resources'
}

/** Tells whether the mount excludes the URI in question, to which a template leads. */
function isUnreadable ({ definition, isReadable }: MountedOffer, { resource }: ExplainOptions): boolean {
  return definition.kind === 'resource-template' && definition.uriTemplate !== resource && !isReadable(resource!)
}

function describeVerdict ({ refusals, unmetAuthentication, missingScopes }: Verdict): string {
  if (refusals.length > 0) return 'hidden from this caller, as if it did not exist'
  if (unmetAuthentication.length > 0) {
    return 'shown, but a call is answered with 401 insufficient_user_authentication: the person must sign in again'
  }
  if (missingScopes.length === 0) return 'allowed'
  return 'shown, but a call is answered with 403 insufficient_scope: the client may ask for more scopes'
}

function describePrincipal (principal: Principal, { areOwn, groupsClaim }: PrincipalOptions): string[] {
  const place = areOwn === true ? `${groupsClaim} of Seed's tokens` : `OIDC_GROUPS_CLAIM=${groupsClaim}`
  const { kind, scopes, groups, claims, authenticatedAt, acr } = principal
  return [
    `The caller is a ${kind}`,
    `Scopes of the token: ${[...scopes].join(', ') || 'none'}`,
    `Groups (${place}): ${groups.join(', ') || explainNoGroups(claimAt(claims, groupsClaim))}`,
    ...(authenticatedAt === undefined
      ? []
      : [`Signed in at the provider: ${new Date(authenticatedAt * 1_000).toISOString()} (auth_time)`]),
    ...(acr === undefined ? [] : [`Level of the sign-in: ${acr} (acr)`])
  ]
}

function explainNoGroups (claim: unknown): string {
  if (claim === undefined) return 'none, as the token has no such claim'
  if (Array.isArray(claim) && claim.length === 0) return 'none, as the list is empty'
  return `none, as the claim is neither a string nor a list of strings: ${JSON.stringify(claim)}`
}

/** Says which server has what is asked for, and where in the file of SEED_MOUNTS its rules are. */
function describeMount ({ place }: MountInspection, offer: MountedOffer): string[] {
  return [
    `It is ${printableJson(offer.nameAtServer)} of ${'url' in place ? place.url : printableJson(place.command)}`,
    ...(offer.rules.length === 0 ? [] : [`Its rules (SEED_MOUNTS): ${offer.rules.join('; ')}`])
  ]
}

function findDefinition (
  options: ExplainOptions, definitions: readonly Definition[], mounted: MountInspection | undefined
): Definition {
  const found = definitions.find((definition) => isNamed(definition, options)) ??
    definitions.find((definition) => matchesTemplate(definition, options))
  if (found !== undefined) return found
  if (mounted?.state.isConnected === false) {
    throw new Error(`The server of mount "${mounted.mount.name}" cannot be used, so what it offers is not known: ` +
      `${mounted.state.reason}. seed doctor says what to do`)
  }
  const excluded = mounted?.excluded.find(({ definition }) => isNamed(definition, options))
  if (excluded !== undefined) {
    throw new Error(`${withoutControls(describeDefinition(excluded.definition))} is not offered, as if it did not ` +
      `exist: mount "${mounted!.mount.name}" excludes it (${excluded.rule})`)
  }
  const all = definitions.map(describeDefinition).map(withoutControls).sort().join('\n')
  const refused = (mounted?.refused ?? []).map(({ offer, reason }) => `${offer} is not offered: ${reason}`)
  const hidden = (mounted?.changes ?? []).filter(({ change }) => change !== 'removed')
    .map(({ name, change }) => `${printableJson(name)} of "${mounted!.mount.name}" is hidden: it is ${change} (pin)`)
  const others = [...refused, ...hidden].map((line) => `\n${withoutControls(line)}`).join('')
  throw new Error(`This server has nothing of this name. It has:\n${all}${others}`)
}

function isNamed (definition: Definition, { tool, prompt, resource }: ExplainOptions): boolean {
  switch (definition.kind) {
    case 'tool': return definition.name === tool
    case 'prompt': return definition.name === prompt
    case 'resource': return definition.uri === resource
    case 'resource-template': return definition.uriTemplate === resource
  }
}

function matchesTemplate (definition: Definition, { resource }: ExplainOptions): boolean {
  return definition.kind === 'resource-template' && resource !== undefined &&
    parseUriTemplate(definition.uriTemplate).match(resource) !== undefined
}
