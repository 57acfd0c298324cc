import type { Preset } from './preset.ts'

/**
 * Returns the scopes to request from the provider.
 *
 * @param wanted scopes of OIDC_SCOPES
 * @param supported `scopes_supported` of the discovery document
 */
export function upstreamScopes (
  preset: Preset, wanted: readonly string[], supported: readonly string[] | undefined
): string[] {
  const extra = preset.extraScopes.filter((scope) => supported?.includes(scope))
  return [...new Set([...wanted, ...extra])].filter((scope) => !preset.unknownScopes.includes(scope))
}
