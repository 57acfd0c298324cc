import { EnvSchema } from '../config/schema.ts'

export interface ApiSettings {
  url: string
  tokenFile: string
  audience: string
  scopes: string
  assertionAudience: string
  assertionClaims: string
}

/** Beginnings of variables that Seed, Node.js, clouds and many libraries read. */
const RESERVED = /^(AWS|DATABASE|HTTPS?|MCP|NODE|NPM|OAUTH|OIDC|OTEL|REDIS|SEED)_/
/** Ends of names whose settings would be those of another name: `PETS_ASSERTION_AUDIENCE` is one of "Pets". */
const AMBIGUOUS = /_(API|ASSERTION)$/

/**
 * Names the settings of an API. What an API is called is a stranger's choice, and must not decide what Seed itself
 * or the client of another API reads: the variables of one called "Redis" begin with `REDIS_API_`. No two names have a
 * setting in common.
 *
 * @param name of the API, in snake case
 */
export function settingsOf (name: string): ApiSettings {
  const upper = name.toUpperCase()
  const settings = settingsWith(upper)
  const isTaken = AMBIGUOUS.test(upper) || Object.values(settings).some(isReserved)
  return isTaken ? settingsWith(`${upper}_API`) : settings
}

function settingsWith (prefix: string): ApiSettings {
  return {
    url: `${prefix}_URL`,
    tokenFile: `${prefix}_TOKEN_FILE`,
    audience: `${prefix}_AUDIENCE`,
    scopes: `${prefix}_SCOPES`,
    assertionAudience: `${prefix}_ASSERTION_AUDIENCE`,
    assertionClaims: `${prefix}_ASSERTION_CLAIMS`
  }
}

/** A setting of Seed may also be given as NAME_FILE. */
function isReserved (name: string): boolean {
  return RESERVED.test(name) || name in EnvSchema.properties || name.replace(/_FILE$/, '') in EnvSchema.properties
}
