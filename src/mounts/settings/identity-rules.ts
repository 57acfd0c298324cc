import type { Config } from '../../config/config.ts'
import { isOwnAudience, isPassableClaim } from '../../tokens/caller-assertion.ts'
import type { IdentityEntry, MountEntry } from './mount-schema.ts'
import { isReservedHeader } from './request-headers.ts'

/** Settings of Seed that decide what a mount may have. Without one, what depends on it is not checked. */
export type MountSettings = Partial<Pick<Config, 'authRequired' | 'oauth' | 'secrets' | 'baseUrl'>>

/** Checks what tells a mounted server who calls. */
export function checkIdentity (entry: MountEntry, settings: MountSettings): string[] {
  const { identity, connection, url = '' } = entry
  if (identity === undefined) return []
  const { tokenFor, assertion } = identity
  return [
    ...(tokenFor === undefined) === (assertion === undefined)
      ? ['identity must have either tokenFor or assertion']
      : [],
    ...tokenFor === undefined ? [] : checkTokenFor(tokenFor, settings),
    ...assertion === undefined ? [] : checkAssertion(assertion, url, settings),
    ...checkHeader(entry, identity.header ?? 'Authorization'),
    ...connection === 'shared'
      ? ['connection must not be shared, as with identity the server could take one caller for another']
      : []
  ]
}

function checkTokenFor (
  { resource }: NonNullable<IdentityEntry['tokenFor']>, { authRequired, oauth }: MountSettings
): string[] {
  return [
    ...authRequired === false || oauth?.mode === 'proxy'
      ? ['identity.tokenFor needs sign-in and OAUTH_MODE=broker, as Seed has no tokens to exchange otherwise']
      : [],
    ...resource !== undefined && (!URL.canParse(resource) || resource.includes('#'))
      ? ['identity.tokenFor.resource must be an absolute URI without a fragment']
      : []
  ]
}

function checkAssertion (
  { audience, claims = [] }: NonNullable<IdentityEntry['assertion']>, url: string, { secrets, baseUrl }: MountSettings
): string[] {
  return [
    ...secrets !== undefined && secrets.current === undefined
      ? ['identity.assertion needs SEED_SECRET: without it each replica and each start signs with another key']
      : [],
    ...baseUrl !== undefined && isOwnAudience(audience ?? url, baseUrl)
      ? ['identity.assertion.audience must be the mounted server, and not Seed itself (BASE_URL)']
      : [],
    ...claims.filter((name) => !isPassableClaim(name))
      .map((name) => `identity.assertion.claims must not have ${name}, which Seed sets itself`)
  ]
}

function checkHeader ({ headers = {} }: MountEntry, header: string): string[] {
  const name = header.toLowerCase()
  if (name !== 'authorization' && isReservedHeader(name)) {
    return [`identity.header must not be ${header}, which Seed sets itself`]
  }
  return Object.keys(headers).some((other) => other.toLowerCase() === name)
    ? [`headers must not have ${header}, which is the header of identity`]
    : []
}
