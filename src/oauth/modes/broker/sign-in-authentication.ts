import type { DemandedAuthentication } from '../../../errors/bearer-error.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { describeUnmetAuthentication, missingAuthenticationClaims } from '../../../tokens/authentication.ts'
import type { AuthenticationRequirement } from '../../../tokens/authentication.ts'
import type { AuthenticationDemands } from './authentication-demands.ts'
import type { Identity } from './identity.ts'

/** The part of a sign-in's request that is about the person's authentication. */
export interface AskedAuthentication {
  /** `max_age` of the client: seconds, in digits. */
  maxAge?: string | undefined
  /** `acr_values` of the client, space-separated. */
  acrValues?: string | undefined
  /** Whether the client sent `prompt=login`. */
  mustLogIn?: boolean | undefined
  /** The demand of a tool, when the browser is sent to the provider for it. */
  demanded?: Partial<DemandedAuthentication> | undefined
  /** Seconds since the epoch. */
  startedAt?: number | undefined
  /** The name of the MCP endpoint. */
  endpoint?: string | undefined
}

/**
 * `max_age` beside a client's `prompt=login`, which obliges the provider to send `auth_time` (OpenID Connect Core 1.0
 * section 3.1.2.1): without it nobody could tell whether the person was asked.
 */
const MAX_AGE_WITH_LOGIN = 300

/** Returns the parameters by which the provider is asked for an authentication. */
export function authenticationParameters (
  { maxAge, acrValues, mustLogIn, demanded }: AskedAuthentication
): { max_age: string | undefined, acr_values: string | undefined } {
  const ages = [maxAge, demanded?.maxAge, mustLogIn === true ? MAX_AGE_WITH_LOGIN : undefined]
  const known = ages.filter((age) => age !== undefined).map(Number)
  return {
    max_age: known.length === 0 ? undefined : String(Math.min(...known)),
    acr_values: demanded?.acr?.join(' ') ?? acrValues
  }
}

export interface SignInAuthenticationOptions {
  demands: Pick<AuthenticationDemands, 'find' | 'delete'>
  /** TOKEN_CLOCK_SKEW_SECONDS */
  clockSkewSeconds: number
}

/**
 * Makes the function that compares the person's authentication with what the provider was asked for, and with what a
 * tool of the endpoint demands of this person and client.
 *
 * @returns the demand for which the browser must be sent to the provider once more; undefined if all is met
 * @throws OAuthError unmet_authentication_requirements if the provider was asked, and has not done it
 */
export function createSignInAuthentication ({ demands, clockSkewSeconds }: SignInAuthenticationOptions) {
  return async function checkAuthentication (
    asked: AskedAuthentication, { subject, authentication }: Pick<Identity, 'subject' | 'authentication'>,
    clientId: string
  ): Promise<DemandedAuthentication | undefined> {
    const owner = { subject, clientId, endpoint: asked.endpoint }
    const now = Math.floor(Date.now() / 1_000)
    const requirement = toRequirement(asked, now)
    const unmet = describeUnmetAuthentication(requirement, authentication, { now, clockSkewSeconds })
    if (unmet.length > 0) {
      // The person is not locked out by what their provider cannot do: the next sign-in is as any other.
      await demands.delete(owner)
      throw notMet(unmet, missingAuthenticationClaims(requirement, authentication))
    }
    const demand = await demands.find(owner)
    if (demand === undefined) return undefined
    // Without the tolerance for clocks: so the sign-in is not too old again a moment later.
    const isMet = describeUnmetAuthentication(demand, authentication, { now, clockSkewSeconds: 0 }).length === 0
    if (!isMet && asked.demanded === undefined) return { maxAge: demand.maxAge, acr: demand.acr }
    // Once is enough: a demand that came meanwhile stays for the next sign-in.
    const hasAsked = JSON.stringify([demand.maxAge, demand.acr]) ===
      JSON.stringify([asked.demanded?.maxAge, asked.demanded?.acr])
    if (isMet || hasAsked) await demands.delete(owner)
    return undefined
  }
}

/** Returns what was asked for as a requirement of now: the time since the request does not count. */
function toRequirement (asked: AskedAuthentication, now: number): AuthenticationRequirement {
  const { maxAge, acrValues, mustLogIn, demanded, startedAt = now } = asked
  const ages = [maxAge, demanded?.maxAge, mustLogIn === true ? 0 : undefined]
  const known = ages.filter((age) => age !== undefined).map(Number)
  return {
    maxAge: known.length === 0 ? undefined : Math.min(...known) + now - startedAt,
    acr: demanded?.acr ?? acrValues?.split(' ')
  }
}

function notMet (reasons: readonly string[], missingClaims: readonly string[]): OAuthError {
  const missing = missingClaims.join(' and no ')
  const message = missing === ''
    ? 'The identity provider did not sign the person in again, or not as strongly, as was asked for'
    : `The identity provider does not say when or how the person signed in: its ID token has no ${missing}`
  return new OAuthError('unmet_authentication_requirements', message, {
    detail: `the ID token does not have what was asked for: ${reasons.join('; ')}`,
    causeCode: 'provider_authentication',
    page: {
      title: 'You were not signed in as is needed',
      ...(missing === '' ? NOT_SIGNED_IN_AGAIN : notSaid(missing))
    }
  })
}

const NOT_SIGNED_IN_AGAIN = {
  sentence: 'Your organisation did not ask you to sign in again, or not as strongly, as this server needs it.',
  advice: 'Sign out at your organisation and connect again from the application. If it happens again, give the ' +
    'reference to whoever runs this server.'
}

/** Signing in once more would end in the same way. */
function notSaid (missing: string): { sentence: string, advice: string } {
  return {
    sentence: 'Your organisation does not tell this server when or how you signed in, as is needed: there is no ' +
      `${missing} in its ID token.`,
    advice: 'Give the reference to whoever runs this server: your organisation must send it.'
  }
}
