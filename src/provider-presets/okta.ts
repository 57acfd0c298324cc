import { GENERIC } from './preset.ts'
import type { Preset } from './preset.ts'

/** Okta. Its org authorization server knows the scope `groups`, custom ones only where it was added. */
export const okta: Preset = {
  ...GENERIC,
  name: 'okta',
  extraScopes: ['groups'],
  issuesIdentityAssertions: true
}
