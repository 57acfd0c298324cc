import { Command as Parser, CommanderError } from '@commander-js/extra-typings'
import { VERSION } from '../config/version.ts'
import { UsageError } from './command.ts'
import type { Command, CommandContext } from './command.ts'

interface CommandEntry {
  name: string
  /** The line in `seed --help`. */
  summary: string
  load: () => Promise<{ command: Command }>
}

/** The command that has to know all others. */
const COMPLETION = 'completion'

/** The subcommands of `seed`, in the order of `seed --help`. Each is loaded only if it is called. */
const COMMANDS: readonly CommandEntry[] = [
  { name: 'serve', summary: 'start the server', load: async () => await import('./serve.ts') },
  { name: 'demo', summary: 'start the server with a provider to try it', load: async () => await import('./demo.ts') },
  { name: 'check', summary: 'check the settings without starting', load: async () => await import('./check.ts') },
  {
    name: 'health',
    summary: 'ask the server on this machine whether it is well',
    load: async () => await import('./health.ts')
  },
  {
    name: 'doctor',
    summary: 'check settings, provider, Redis and public URL, and say what to change',
    load: async () => await import('./doctor.ts')
  },
  {
    name: 'explain',
    summary: 'explain why a caller may or may not use a tool, prompt or resource',
    load: async () => await import('./explain.ts')
  },
  {
    name: 'mounts',
    summary: 'list mounted MCP servers, show what has changed there, and accept it',
    load: async () => await import('./mounts.ts')
  },
  {
    name: 'audit',
    summary: 'check that no line of an audit log was changed or removed',
    load: async () => await import('./audit.ts')
  },
  {
    name: 'connections',
    summary: 'list who is connected, and end connections',
    load: async () => await import('./connections.ts')
  },
  {
    name: 'revoke',
    summary: 'end sign-ins and their access tokens, on every replica at once',
    load: async () => await import('./revoke.ts')
  },
  { name: 'new', summary: 'write a project or a tool of your own', load: async () => await import('./new.ts') },
  { name: 'import', summary: 'make tools of an OpenAPI description', load: async () => await import('./import.ts') },
  {
    name: 'trace',
    summary: 'tell why a sign-in failed, by its reference',
    load: async () => await import('./trace.ts')
  },
  {
    name: 'token',
    summary: 'sign in at a running server in the browser and print an access token',
    load: async () => await import('./token.ts')
  },
  {
    name: COMPLETION,
    summary: 'print a script that makes a shell complete seed',
    load: async () => await import('./completion.ts')
  }
]

const AFTER_HELP = `
All but token, health and audit read the settings that the server reads (OIDC_ISSUER, REDIS_URL, SEED_SECRET and so on),
from the environment and from .env in the current folder; token reads BASE_URL and PORT, health HOST and PORT, audit
AUDIT_CHAIN_KEY.

Examples:
  $ seed check
      Name every setting that needs attention
  $ seed serve
      Start the server
  $ seed revoke --help
      Show the options of a command, and examples`

/**
 * Runs a command line of `seed`. Whatever goes wrong is printed to standard error as a sentence, without a stack.
 *
 * @param args the command's name and its arguments
 * @returns the exit code
 */
export async function runCommand (args: readonly string[], context: CommandContext): Promise<number> {
  let exitCode = 0
  try {
    const parser = await createParser(args, context, (code) => { exitCode = code })
    await parser.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (err) {
    // Commander has printed help and version itself: to standard error if no command was named.
    if (err instanceof CommanderError && /^commander\.(help|version)/.test(err.code)) return err.exitCode
    context.printError(describe(err as Error, args))
    return 1
  }
}

/** Declares all subcommands, of which only the one that is called needs more than its name. */
async function createParser (
  args: readonly string[], context: CommandContext, onEnd: (exitCode: number) => void
): Promise<Parser> {
  const parser = new Parser('seed')
    .description('Runs Seed, an MCP server with OpenID Connect sign-in, and answers questions about it.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText('after', AFTER_HELP)
    // Subcommands inherit these.
    .exitOverride()
    .configureOutput({
      writeOut: (text) => { context.print(text.trimEnd()) },
      writeErr: (text) => { context.printError(text.trimEnd()) },
      outputError () {}
    })
  const called = calledCommand(args)
  for (const { name, summary, load } of COMMANDS) {
    const subcommand = parser.command(name).summary(summary).helpOption('-h, --help', 'print this help')
    if (name === called || called === COMPLETION) (await load()).command.register(subcommand, context, onEnd)
  }
  return parser
}

function calledCommand ([first, second]: readonly string[]): string | undefined {
  return first === 'help' ? second : first
}

function describe (err: Error, args: readonly string[]): string {
  if (!(err instanceof CommanderError) && !(err instanceof UsageError)) return err.message
  const message = err.message.replace(/^error: /, '')
  const name = COMMANDS.find(({ name }) => name === calledCommand(args))?.name
  return name === undefined
    ? `seed: ${message}\nseed --help lists the commands.`
    : `seed ${name}: ${message}\nseed ${name} --help shows its options, and examples.`
}
