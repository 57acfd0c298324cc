import { GENERIC } from './preset.ts'
import type { Preset } from './preset.ts'

/** authentik. */
export const authentik: Preset = {
  ...GENERIC,
  name: 'authentik',
  // Since 2025.10 email_verified is false by default.
  trustsEmail: true,
  // Its access tokens are its ID tokens, nonce included, with these two.
  accessTokenClaims: ['uid', 'azp']
}
