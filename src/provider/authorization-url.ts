import { upstreamScopes } from '../provider-presets/upstream-scopes.ts'
import type { Preset } from '../provider-presets/preset.ts'
import type { ProviderMetadata } from './discovery.ts'

/** Parameters of an authorization request; undefined ones are left out. */
export type AuthorizationParameters = Record<string, string | undefined>

/**
 * Builds the URL that sends a browser to the provider's authorization endpoint (RFC 6749 section 4.1.1, RFC 7636
 * section 4.3), with the parameters of the preset.
 *
 * @param scopes of OIDC_SCOPES
 */
export function buildAuthorizationUrl (
  { authorizationEndpoint, scopes: supported }: ProviderMetadata,
  preset: Preset,
  parameters: AuthorizationParameters,
  scopes: readonly string[]
): URL {
  const url = new URL(authorizationEndpoint)
  const all = {
    response_type: 'code',
    code_challenge_method: 'S256',
    ...parameters,
    scope: upstreamScopes(preset, scopes, supported).join(' '),
    ...preset.authorizationParameters,
    prompt: mergePrompts(parameters['prompt'], preset.authorizationParameters['prompt'])
  }
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined) url.searchParams.set(name, value)
  }
  return url
}

function mergePrompts (...prompts: Array<string | undefined>): string | undefined {
  const merged = new Set(prompts.flatMap((prompt) => prompt?.split(' ') ?? []).filter((prompt) => prompt !== ''))
  return merged.size === 0 ? undefined : [...merged].join(' ')
}

/** Parameters that name the API that access tokens are for, in authorization and token requests. */
export function apiParameters ({ preset, audience, resource }: ApiOptions): Record<string, string> {
  return {
    ...(preset.sendsAudience && audience !== '' && { audience }),
    ...(resource !== undefined && { resource })
  }
}

interface ApiOptions {
  preset: Preset
  /** OIDC_AUDIENCE, for presets that send it. */
  audience: string
  /** OIDC_RESOURCE */
  resource: string | undefined
}
