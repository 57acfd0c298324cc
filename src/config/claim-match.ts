import { Type } from 'typebox'
import type { Static } from 'typebox'

const ValueSchema = Type.Union([
  Type.String({ minLength: 1, maxLength: 1024 }),
  Type.Boolean(),
  Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
  Type.Object({ pattern: Type.String({ minLength: 1, maxLength: 1024 }) }, { additionalProperties: false })
])

/** The claims that a rule wants, each with its accepted values. `.` would leave out names with a line break. */
export const MatchSchema = Type.Record(
  Type.String({ pattern: '^[\\s\\S]{1,256}$' }),
  Type.Union([ValueSchema, Type.Array(ValueSchema, { minItems: 1, maxItems: 100 })]),
  { minProperties: 1, maxProperties: 32, additionalProperties: false }
)

/** The accepted values of a claim: all of it must be one of them. */
export interface ClaimMatch {
  claim: string
  /** Compared with the text of the claim, character for character. */
  values: readonly string[]
  /** `*` stands for one whole part between separators. */
  patterns: readonly string[]
}

export function toClaimMatches (match: Static<typeof MatchSchema>): ClaimMatch[] {
  return Object.entries(match).map(([claim, accepted]) => {
    const all = [accepted].flat()
    const patterns = all.flatMap((value) => typeof value === 'object' ? [value.pattern] : [])
    return { claim, values: all.filter((value) => typeof value !== 'object').map(String), patterns }
  })
}

/**
 * Whether `*` is a whole part between the separators `/`, `:` and `@`, and something stands before it. With `org/app*`
 * an outsider could choose a name that fits, such as `org/app-evil`.
 */
export function isSafePattern (pattern: string): boolean {
  return pattern.includes('*') && /^[^*]*[/:@]\*(?:[/:@][^*]*(?:[/:@]\*)?)*$/.test(pattern)
}

/** Whether a claim has one of the accepted values. A claim that is a list, such as `roles`, must contain one. */
export function acceptsClaim (match: ClaimMatch, claim: unknown): boolean {
  if (Array.isArray(claim)) return claim.some((item) => !Array.isArray(item) && acceptsClaim(match, item))
  if (typeof claim !== 'string' && typeof claim !== 'boolean' && !Number.isSafeInteger(claim)) return false
  return acceptsText(match, String(claim))
}

function acceptsText ({ values, patterns }: ClaimMatch, text: string): boolean {
  return values.includes(text) || patterns.some((pattern) => toExpression(pattern).test(text))
}

function toExpression (pattern: string): RegExp {
  const escaped = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${escaped.join('[^/:@\\s]+')}$`)
}

/** Whether every token that fits `narrow` also fits `wide`, as far as the rules themselves show it. */
export function isCoveredBy (narrow: readonly ClaimMatch[], wide: readonly ClaimMatch[]): boolean {
  return wide.every((match) => {
    const own = narrow.find(({ claim }) => claim === match.claim)
    return own !== undefined && own.values.every((value) => acceptsText(match, value)) &&
      own.patterns.every((pattern) => match.patterns.includes(pattern))
  })
}
