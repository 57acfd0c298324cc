import { GENERIC } from './preset.ts'
import type { Preset } from './preset.ts'

/** Microsoft Entra ID. */
export const entra: Preset = {
  ...GENERIC,
  name: 'entra',
  // A request for openid alone returns a token for Microsoft Graph, and so does a refresh without scope.
  alwaysAllScopes: true,
  // The userinfo endpoint is Microsoft Graph's and needs another token. The ID token has everything.
  usesUserinfo: false,
  delegation: 'on-behalf-of'
}
