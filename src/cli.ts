#!/usr/bin/env node
import { readConfig } from '../plugins/config.ts'
import { UsageError } from './commands/command.ts'
import type { Command, CommandContext } from './commands/command.ts'
import { createDefinitionLoader } from './definitions.ts'

/** The subcommands of `seed`. Each is loaded only if it is called. */
const COMMANDS: Record<string, { summary: string, load: () => Promise<{ command: Command }> }> = {
  explain: {
    summary: 'Explains why a caller may or may not use a tool, prompt or resource',
    load: async () => await import('./commands/explain.ts')
  },
  revoke: {
    summary: 'Ends sign-ins and their access tokens, on every replica at once',
    load: async () => await import('./commands/revoke.ts')
  }
}

const USAGE = `Usage: seed <command> [options]

${Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`).join('\n')}

seed <command> --help shows a command's options. All read the settings that the server reads (REDIS_URL, SEED_SECRET,
OIDC_ISSUER and so on), from the environment and from .env.`

const CONTEXT: CommandContext = {
  readConfig: async () => await readConfig({ environment: process.env, dotenvPath: '.env' }),
  loadDefinitions: async (config) => await createDefinitionLoader().load(config),
  print: (text) => { console.log(text) },
  printError: (text) => { console.error(text) }
}

/** @returns the exit code */
async function run ([name = '', ...args]: string[]): Promise<number> {
  if (isHelp(name)) {
    console.log(USAGE)
    return 0
  }
  if (!Object.hasOwn(COMMANDS, name)) throw new Error(name === '' ? USAGE : `seed has no command ${name}\n\n${USAGE}`)
  const { command } = await COMMANDS[name]!.load()
  if (args.some(isHelp)) {
    console.log(command.usage)
    return 0
  }
  try {
    return await command.run(args, CONTEXT)
  } catch (err) {
    throw err instanceof UsageError ? new Error(`${err.message}\n\n${command.usage}`) : err
  }
}

function isHelp (arg: string): boolean {
  return arg === '--help' || arg === '-h'
}

try {
  process.exitCode = await run(process.argv.slice(2))
} catch (err) {
  console.error((err as Error).message)
  process.exitCode = 1
}
