import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { MatchSchema, isCoveredBy, isSafePattern, toClaimMatches } from './claim-match.ts'
import type { ClaimMatch } from './claim-match.ts'
import { ISSUER_PRESETS, ISSUER_PRESET_NAMES, presetNameOf } from './issuer-presets.ts'
import type { IssuerPresetName } from './issuer-presets.ts'
import { firstJsonError, readJsonSetting } from './json-setting.ts'
import { JwksSchema, hasPrivateKey, isPublicKey, isSafeUrl } from './public-keys.ts'
import {
  SERVICE_MEMBERS, ServiceNameSchema, isIdOfOtherClients, reservedClaims, toServiceRights
} from './service-rights.ts'
import type { ServiceRights } from './service-rights.ts'
import { ALGORITHMS } from './validate-lists.ts'

const RuleSchema = Type.Object({
  service: ServiceNameSchema,
  match: MatchSchema,
  ...SERVICE_MEMBERS
}, { additionalProperties: false })

const AudienceSchema = Type.String({ minLength: 1, maxLength: 2048 })

/** An issuer of TRUSTED_ISSUERS, and the services that the holders of its tokens are. */
const IssuerSchema = Type.Object({
  issuer: Type.Optional(Type.String({ minLength: 1, maxLength: 2048 })),
  preset: Type.Optional(Type.Enum([...ISSUER_PRESET_NAMES])),
  trust_domain: Type.Optional(Type.String({ pattern: '^[a-z0-9._-]{1,255}$' })),
  jwks_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  jwks: Type.Optional(JwksSchema),
  algorithms: Type.Optional(Type.Array(Type.Enum([...ALGORITHMS]), { minItems: 1 })),
  audience: Type.Optional(
    Type.Union([AudienceSchema, Type.Array(AudienceSchema, { minItems: 1, maxItems: 10 })])
  ),
  single_use: Type.Optional(Type.Boolean()),
  access_tokens: Type.Optional(Type.Boolean()),
  rules: Type.Array(RuleSchema, { minItems: 1, maxItems: 200 })
}, { additionalProperties: false })

type Issuer = Static<typeof IssuerSchema>
type Rule = Static<typeof RuleSchema>
const trustedIssuers = Compile(Type.Array(IssuerSchema, { maxItems: 50 }))

/** An issuer whose tokens stand for services. */
export interface TrustedIssuer {
  /** The issuer's name in the log: its URL, or the trust domain of SPIFFE. */
  name: string
  /** The `iss` of its tokens; undefined for a SPIFFE trust domain whose tokens have none. */
  issuer: string | undefined
  /** Set for SPIFFE: `sub` is below it. */
  trustDomain: string | undefined
  preset: IssuerPresetName | ''
  /** The URL of its keys; undefined for those of `jwks`, or of the discovery document. */
  jwksUri: string | undefined
  jwks: { keys: Array<{ kty: string }> } | undefined
  algorithms: readonly string[]
  /** A token's `aud` is one of these, and nothing else. */
  audiences: readonly string[]
  /** Whether a token with a `jti` is accepted once. */
  singleUse: boolean
  /** Whether its tokens are access tokens, which /mcp accepts; otherwise the token endpoint trades them. */
  accessTokens: boolean
  rules: readonly IssuerRule[]
}

/** Makes holders of tokens whose claims match a service. */
export interface IssuerRule {
  service: string
  match: readonly ClaimMatch[]
  rights: ServiceRights
}

/** Returns the issuers of a valid TRUSTED_ISSUERS. */
export function readTrustedIssuers (text: string | undefined, baseUrl: string): TrustedIssuer[] {
  return (readJsonSetting(trustedIssuers, text) ?? []).map((entry) => {
    const preset = presetNameOf(entry)
    const issuer = issuerOf(entry)
    return {
      name: nameOf(entry),
      issuer,
      trustDomain: entry.trust_domain,
      preset,
      jwksUri: entry.jwks_uri,
      jwks: entry.jwks,
      algorithms: entry.algorithms ?? ISSUER_PRESETS[preset].algorithms,
      audiences: [entry.audience ?? [baseUrl, `${baseUrl}/`]].flat(),
      singleUse: entry.single_use ?? true,
      accessTokens: entry.access_tokens ?? false,
      rules: entry.rules.map((rule) => ({
        service: rule.service, match: toClaimMatches(rule.match), rights: toServiceRights(rule)
      }))
    }
  })
}

/** The settings that TRUSTED_ISSUERS must fit. */
export interface IssuerSurroundings {
  mode: 'proxy' | 'broker'
  baseUrl: string
  /** OIDC_ISSUER */
  provider: string | undefined
  /** OIDC_TENANTS */
  tenants: readonly string[]
  /** OIDC_CLIENT_ID */
  providerClientId: string | undefined
  /** The client ids of OAUTH_CLIENTS. */
  clientIds: readonly string[]
}

/** Returns the problems of TRUSTED_ISSUERS, each with what to change. */
export function checkTrustedIssuers (text: string | undefined, surroundings: IssuerSurroundings): string[] {
  if (text === undefined) return []
  const entries = readJsonSetting(trustedIssuers, text)
  if (entries === undefined) {
    return [`must be a JSON array of issuers, each with rules: ${firstJsonError(trustedIssuers, text)}`]
  }
  const names = entries.map(nameOf)
  const twice = names.filter((name, index) => names.indexOf(name) < index)
  return [
    ...(surroundings.mode === 'proxy' ? [PROXY_MODE] : []),
    ...twice.map((name) => `lists the issuer "${name}" twice: put all of its rules into one entry`),
    ...entries.flatMap((entry) => [
      ...checkIssuer(entry, surroundings), ...checkKeys(entry), ...checkAudience(entry),
      ...checkAccessTokens(entry, surroundings),
      ...entry.rules.flatMap((rule) => [...checkRule(rule, entry, surroundings)]), ...checkAmbiguity(entry)
    ].map((problem) => `has an issuer "${nameOf(entry)}" ${problem}`))
  ]
}

const PROXY_MODE = 'needs OAUTH_MODE=broker: with OAUTH_MODE=proxy the provider issues tokens'

function issuerOf ({ issuer, ...entry }: Issuer): string | undefined {
  return issuer ?? ISSUER_PRESETS[presetNameOf(entry)].issuer
}

function nameOf (entry: Issuer): string {
  return issuerOf(entry) ?? entry.trust_domain ?? 'without a name'
}

function * checkIssuer (entry: Issuer, { baseUrl, provider, tenants }: IssuerSurroundings): Generator<string> {
  const issuer = issuerOf(entry)
  const isSpiffe = entry.preset === 'spiffe'
  if (isSpiffe !== (entry.trust_domain !== undefined)) {
    yield isSpiffe ? 'that needs trust_domain' : 'with trust_domain, which the preset spiffe alone has'
  }
  if (issuer === undefined) {
    if (!isSpiffe) yield 'that needs issuer: the iss of its tokens, byte for byte'
    return
  }
  if (!isSafeUrl(issuer) || issuer.includes('?')) {
    yield 'that must be an https URL without user, password, query and fragment (http on this machine only)'
  } else if (issuer === baseUrl) {
    yield 'that is this server itself'
  } else if (entry.access_tokens !== true && isProvider(issuer, provider, tenants)) {
    yield 'that is OIDC_ISSUER: its tokens are those of people (access_tokens allows those of its services at /mcp)'
  }
}

/** Whether an issuer is the provider, or with OIDC_TENANTS that of one of these tenants. */
function isProvider (issuer: string, provider: string | undefined, tenants: readonly string[]): boolean {
  if (provider === undefined || !URL.canParse(provider)) return false
  const { origin, pathname } = new URL(issuer)
  return issuer === provider ||
    (origin === new URL(provider).origin && tenants.includes(pathname.split('/')[1]!))
}

function * checkKeys (entry: Issuer): Generator<string> {
  const { jwks, jwks_uri: jwksUri } = entry
  if (jwks !== undefined && jwksUri !== undefined) yield 'with jwks and jwks_uri: it may have one of them'
  if (jwksUri !== undefined && !isSafeUrl(jwksUri)) {
    yield 'whose jwks_uri must be an https URL without user, password and fragment (http on this machine only)'
  }
  if (jwks !== undefined && hasPrivateKey(jwks.keys)) {
    yield 'whose jwks has a private key: the issuer alone may know that one'
  } else if (jwks !== undefined && !jwks.keys.every(isPublicKey)) {
    yield 'whose jwks has a key that cannot verify signatures (RSA needs 2,048 bits)'
  }
  if (jwks === undefined && jwksUri === undefined && issuerOf(entry) === undefined) {
    yield 'that needs jwks_uri or jwks: without issuer there is no discovery document'
  }
}

/** Audiences that a platform gives to tokens for anybody. */
const SHARED_AUDIENCES = /^https:\/\/github\.com(\/|$)|^https:\/\/kubernetes\.default\.svc/

function * checkAudience (entry: Issuer): Generator<string> {
  for (const audience of [entry.audience ?? []].flat()) {
    if (!SHARED_AUDIENCES.test(audience) && audience !== issuerOf(entry)) continue
    yield `with the audience "${audience}", which tokens for other servers have too: let the workload ask for one ` +
      'that is this server\'s alone, such as BASE_URL (the default)'
  }
}

/** Access tokens come with each request, and say themselves for whom they are: some members make no sense for them. */
function * checkAccessTokens (entry: Issuer, { providerClientId }: IssuerSurroundings): Generator<string> {
  if (entry.access_tokens !== true) return
  const preset = presetNameOf(entry)
  if (preset !== '') {
    yield `with access_tokens, which ${preset} does not issue: without it the workload trades its token at /oauth/token`
  }
  if (entry.single_use !== undefined) yield 'with access_tokens and single_use: access tokens are used many times'
  if (entry.audience === undefined) {
    yield 'with access_tokens, which needs audience: what the issuer writes into aud for this server alone'
  }
  if (providerClientId !== undefined && [entry.audience ?? []].flat().includes(providerClientId)) {
    yield `with access_tokens and the audience "${providerClientId}", which is OIDC_CLIENT_ID: ID tokens of people ` +
      'have it too. Let the provider have an audience of its own for this server'
  }
}

/** Claims that are checked for every token. */
const STANDARD_CLAIMS = ['iss', 'aud', 'exp', 'iat', 'nbf', 'jti']

function * checkRule (rule: Rule, entry: Issuer, { clientIds }: IssuerSurroundings): Generator<string> {
  const { service } = rule
  const match = toClaimMatches(rule.match)
  const about = `whose rule for "${service}"`
  if (isIdOfOtherClients(service)) yield `${about} must have another name: ids of that form are for other clients`
  if (clientIds.includes(service)) yield `${about} must have another name: OAUTH_CLIENTS has a client of that id`
  const standard = match.filter(({ claim }) => STANDARD_CLAIMS.includes(claim)).map(({ claim }) => claim)
  if (standard.length > 0) yield `${about} may not match ${standard.join(', ')}, which is checked anyway`
  for (const pattern of match.flatMap(({ patterns }) => patterns)) {
    if (isSafePattern(pattern)) continue
    yield `${about} has the pattern "${pattern}": * must be a whole part between "/", ":" or "@", and not the first ` +
      '(an outsider could choose a name that fits another pattern)'
  }
  const reserved = reservedClaims(rule.claims)
  if (reserved.length > 0) yield `${about} has claims that may not be ${reserved.join(', ')}`
  for (const text of ISSUER_PRESETS[presetNameOf(entry)].checkMatch(match, entry.trust_domain)) yield `${about} ${text}`
}

/** Finds two services of which every token for one of them fits the other too. */
function * checkAmbiguity ({ rules }: Issuer): Generator<string> {
  const all = rules.map(({ service, match }) => ({ service, match: toClaimMatches(match) }))
  for (const [index, one] of all.entries()) {
    const other = all.find(({ service, match }, at) => service !== one.service && isCoveredBy(one.match, match) &&
      (at < index || !isCoveredBy(match, one.match)))
    if (other === undefined) continue
    yield `whose rules for "${one.service}" and "${other.service}" are ambiguous: every token that fits the first ` +
      'fits the second too. Add a claim to the second, or a list of values'
  }
}
