/** Folders of tools and tests if the command line names none. */
export const DEFAULT_FOLDERS = { out: 'src/tools', tests: 'test' } as const

interface CommandOptions {
  source: string
  out: string
  tests: string
  prefix: string
}

/** Returns the command that imports one operation, under another name of the API, for a POSIX shell. */
export function importCommand ({ source, out, tests, prefix }: CommandOptions, key: string, name: string): string {
  const args = ['npx', 'seed', 'import', 'openapi', source, '--operation', key, '--name', name]
  if (out !== DEFAULT_FOLDERS.out) args.push('--out', out)
  if (tests !== DEFAULT_FOLDERS.tests) args.push('--tests', tests)
  if (prefix !== '') args.push('--prefix', prefix)
  return args.map(quoteArgument).join(' ')
}

/** What a description says must not be run by the shell into which a person copies the command. */
function quoteArgument (argument: string): string {
  return /^[\w./:@-]+$/.test(argument) ? argument : `'${argument.replaceAll('\'', '\'\\\'\'')}'`
}
