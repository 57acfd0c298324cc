import type { Config } from '../config/config.ts'
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
export function checkAccess ({ access, oidc, authRequired }: Config): Finding[] {
  if (!authRequired) {
    return [question('configuration.access', 'AUTH_REQUIRED').warning('false', 'Everybody who can reach Seed may ' +
      'use every ' +
      'tool', { setting: 'AUTH_REQUIRED', value: 'true' })]
  }
  return [checkRules(access), ...checkEmailScope(access, oidc)]
}

function checkRules ({ groups, emailDomains, hostedDomains, claims }: Config['access']): Finding {
  const about = question('configuration.access', 'ACCESS_GROUPS, ACCESS_EMAIL_DOMAINS, ACCESS_HOSTED_DOMAINS, ' +
    'ACCESS_CLAIMS')
  const count = groups.length + emailDomains.length + hostedDomains.length + claims.length
  return count === 0
    ? about.ok('none is set', 'Everybody whom the provider admits may sign in')
    : about.ok('set', 'Access is limited; whether the claims arrive shows a sign-in (seed doctor --sign-in)')
}

/** A rule about a claim that is not asked for would refuse everybody. */
function checkEmailScope ({ emailDomains }: Config['access'], { scopes }: Config['oidc']): Finding[] {
  if (emailDomains.length === 0 || scopes.includes('email')) return []
  return [question('configuration.email-scope', 'OIDC_SCOPES').warning(scopes.join(' '), 'ACCESS_EMAIL_DOMAINS ' +
    'needs the ' +
    'email claim, and OIDC_SCOPES does not ask for it: everybody may be refused',
  { setting: 'OIDC_SCOPES', value: [...scopes, 'email'].join(' ') })]
}
