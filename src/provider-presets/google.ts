import { GENERIC } from './preset.ts'
import type { Preset } from './preset.ts'

/** Google Identity and Workspace. */
export const google: Preset = {
  ...GENERIC,
  name: 'google',
  // Google issues a refresh token only for these two, and refuses the standard's scope.
  authorizationParameters: { access_type: 'offline', prompt: 'consent' },
  unknownScopes: ['offline_access'],
  scopeAliases: {
    'https://www.googleapis.com/auth/userinfo.email': 'email',
    'https://www.googleapis.com/auth/userinfo.profile': 'profile'
  },
  brokerOnly: 'its access tokens are opaque, and redirect URIs are fixed',
  needsCredential: true
}
