import type { Environment } from './variables.ts'

/** What programs need to run. Nothing of Seed's own settings is among them. */
const NAMES = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR']

/** Returns the variables that the processes of mounted servers get of Seed's environment. */
export function toInheritedVariables (environment: Environment): Record<string, string> {
  return Object.fromEntries(NAMES.flatMap((name) => {
    const value = environment[name]
    return value === undefined ? [] : [[name, value]]
  }))
}
