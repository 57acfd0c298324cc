import type { Config } from '../config/config.ts'
import { hasAccessRules } from '../config/endpoints.ts'
import type { Endpoint } from '../config/endpoints.ts'
import type { ConfigInspection } from '../config/load.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'

/** Every problem and warning about the settings, as the server would report them. */
export function checkConfiguration ({ problems, warnings }: ConfigInspection): Finding[] {
  const doubtful = warnings.map(({ setting, message }) =>
    question(`configuration.${setting}`, setting).warning('readers differ', message, { setting }))
  if (problems.length === 0) {
    return [question('configuration.settings', 'all settings').ok('no problem', 'The settings are valid'), ...doubtful]
  }
  const errors = problems.map(({ setting, message }) =>
    question(`configuration.${setting}`, setting).error('not usable', message, { setting }))
  return [...errors, ...doubtful]
}

/** Judges the rules for who may sign in. */
export function checkAccess ({ access, oidc, authRequired, endpoints }: Config): Finding[] {
  if (!authRequired) {
    return [question('configuration.access', 'AUTH_REQUIRED').warning('false', 'Everybody who can reach Seed may ' +
      'use every ' +
      'tool', { setting: 'AUTH_REQUIRED', value: 'true' })]
  }
  return [checkRules(access, endpoints), ...checkEmailScope(access, endpoints, oidc)]
}

function checkRules (
  { groups, emailDomains, hostedDomains, claims }: Config['access'], endpoints: readonly Endpoint[]
): Finding {
  const about = question('configuration.access', 'ACCESS_GROUPS, ACCESS_EMAIL_DOMAINS, ACCESS_HOSTED_DOMAINS, ' +
    'ACCESS_CLAIMS, access in SEED_ENDPOINTS')
  const count = groups.length + emailDomains.length + hostedDomains.length + claims.length
  if (count > 0) {
    return about.ok('set', 'Access is limited; whether the claims arrive shows a sign-in (seed doctor --sign-in)')
  }
  const paths = (isLimited: boolean): string =>
    endpoints.filter((endpoint) => hasAccessRules(endpoint) === isLimited).map(({ path }) => path).join(', ')
  if (paths(true) === '') return about.ok('none is set', 'Everybody whom the provider admits may sign in')
  return about.ok(`set for ${paths(true)}`, paths(false) === ''
    ? 'Access is limited at each MCP endpoint'
    : `Access to these MCP endpoints is limited; everybody whom the provider admits may use ${paths(false)}`)
}

/** A rule about a claim that is not asked for would refuse everybody. Sign-ins ask for OIDC_SCOPES at each endpoint. */
function checkEmailScope (
  { emailDomains }: Config['access'], endpoints: readonly Endpoint[], { scopes }: Config['oidc']
): Finding[] {
  const rules = [
    ...(emailDomains.length === 0 ? [] : ['ACCESS_EMAIL_DOMAINS']),
    ...endpoints.filter(({ access }) => access.emailDomains.length > 0)
      .map(({ path }) => `access.emailDomains of ${path} (SEED_ENDPOINTS)`)
  ]
  if (scopes.includes('email')) return []
  return rules.map((rule) => question('configuration.email-scope', 'OIDC_SCOPES').warning(scopes.join(' '),
    `${rule} needs the email claim, and OIDC_SCOPES does not ask for it: everybody may be refused`,
    { setting: 'OIDC_SCOPES', value: [...scopes, 'email'].join(' ') }))
}
