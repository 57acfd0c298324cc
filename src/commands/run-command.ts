import { UsageError } from './command.ts'
import type { Command, CommandContext } from './command.ts'

/** The subcommands of `seed`. Each is loaded only if it is called. */
const COMMANDS: Record<string, { summary: string, load: () => Promise<{ command: Command }> }> = {
  doctor: {
    summary: 'Checks the settings, the provider, Redis and the public URL, and says what to change',
    load: async () => await import('./doctor.ts')
  },
  explain: {
    summary: 'Explains why a caller may or may not use a tool, prompt or resource',
    load: async () => await import('./explain.ts')
  },
  revoke: {
    summary: 'Ends sign-ins and their access tokens, on every replica at once',
    load: async () => await import('./revoke.ts')
  },
  token: {
    summary: 'Signs in at a running server in the browser and prints an access token',
    load: async () => await import('./token.ts')
  }
}

const USAGE = `Usage: seed <command> [options]

${Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`).join('\n')}

seed <command> --help shows a command's options. All but token read the settings that the server reads (REDIS_URL,
SEED_SECRET, OIDC_ISSUER and so on), from the environment and from .env; token reads BASE_URL and PORT.`

/**
 * Runs a command line of `seed`. Whatever goes wrong is printed to standard error as a sentence, without a stack.
 *
 * @param args the command's name and its arguments
 * @returns the exit code
 */
export async function runCommand (args: readonly string[], context: CommandContext): Promise<number> {
  try {
    return await dispatch(args, context)
  } catch (err) {
    context.printError((err as Error).message)
    return 1
  }
}

async function dispatch ([name = '', ...args]: readonly string[], context: CommandContext): Promise<number> {
  if (isHelp(name)) {
    context.print(USAGE)
    return 0
  }
  if (!Object.hasOwn(COMMANDS, name)) throw new Error(name === '' ? USAGE : `seed has no command ${name}\n\n${USAGE}`)
  const { command } = await COMMANDS[name]!.load()
  if (args.some(isHelp)) {
    context.print(command.usage)
    return 0
  }
  try {
    return await command.run(args, context)
  } catch (err) {
    throw err instanceof UsageError ? new Error(`${err.message}\n\n${command.usage}`) : err
  }
}

function isHelp (arg: string): boolean {
  return arg === '--help' || arg === '-h'
}
