import { ToolError } from '../../define/tool.ts'
import type { TokenFor } from '../../mcp/handlers/context.ts'
import { MAX_ASSERTION_LENGTH } from '../../tokens/caller-assertion.ts'
import type { IssueCallerAssertion } from '../../tokens/caller-assertion.ts'
import type { Principal } from '../../tokens/principal.ts'
import type { IdentityEntry } from '../settings/mount-schema.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { tokenHeader, withoutQuery } from '../settings/request-headers.ts'

/** The services that make what says who calls. */
export interface IdentityServices {
  issueAssertion: IssueCallerAssertion
  /** Returns a token of the identity provider for a caller. Only with OAUTH_MODE=broker. @throws ToolError */
  tokenFor: TokenFor
  /** The same for Seed itself. @throws ToolError */
  serverTokenFor (request: Omit<Parameters<TokenFor>[1], 'allowServerToken'>): Promise<string>
}

/** Headers that say who calls, made anew for each request. */
export type CallerIdentity = (
  /** Undefined for requests of Seed itself, such as those for lists, and where nobody is signed in. */
  caller: Principal | undefined,
  signal?: AbortSignal
) => Promise<Record<string, string>>

/** Returns what a mount sends to say who calls; undefined for one that does not say it. */
export function createCallerIdentity (
  { name, url, identity }: Pick<Mount, 'name' | 'url' | 'identity'>,
  services: IdentityServices
): CallerIdentity | undefined {
  if (identity === undefined) return undefined
  const getToken = identity.assertion === undefined
    ? exchangeToken(identity.tokenFor!, services)
    : issueAssertion(name, { audience: withoutQuery(url!), ...identity.assertion }, services)
  return async (caller, signal) => {
    const token = await getToken(caller, signal)
    return token === undefined ? {} : tokenHeader(identity, token)
  }
}

type GetToken = (caller: Principal | undefined, signal: AbortSignal | undefined) => Promise<string | undefined>

function issueAssertion (
  mount: string, request: { audience: string, claims?: string[] }, { issueAssertion: issue }: IdentityServices
): GetToken {
  return async (caller) => {
    const assertion = issue(caller, request)
    if (assertion.length <= MAX_ASSERTION_LENGTH) return assertion
    throw new ToolError(`The server behind ${mount} cannot be told who calls: you are in too many groups, or have ` +
      'other long claims (identity.assertion.claims in the file of SEED_MOUNTS)')
  }
}

function exchangeToken (
  request: NonNullable<IdentityEntry['tokenFor']>, { tokenFor, serverTokenFor }: IdentityServices
): GetToken {
  const { allowServerToken = false, ...delegation } = request
  return async (caller, signal = new AbortController().signal) => {
    if (caller !== undefined) return await tokenFor(caller, request, signal)
    return allowServerToken ? await serverTokenFor(delegation) : undefined
  }
}
