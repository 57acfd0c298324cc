import { parseArgs } from 'node:util'
import type { Config } from '../config/config.ts'
import type { ConfigInspection } from '../config/load.ts'
import type { Definition } from '../define/definition.ts'

/** A subcommand of `seed`. Each file of this folder exports one as `command`. */
export interface Command {
  /** Synopsis, description and options, as `seed <command> --help` prints them. */
  usage: string
  /**
   * @param args the arguments after the command's name
   * @returns the exit code
   * @throws UsageError for wrong arguments; any other error has a message for the operator
   */
  run (args: readonly string[], context: CommandContext): Promise<number>
}

/** The process, as commands see it: they read no environment of their own. */
export interface CommandContext {
  /** Reads the settings that the server reads. @throws ConfigError with every problem */
  readConfig (): Promise<Config>
  /** Reads the settings as far as they can be used, and every problem. */
  inspectConfig (): Promise<ConfigInspection>
  /** Reads where the server is (BASE_URL or its default), for commands that are its clients: they need no secret. */
  readBaseUrl (): string
  /** Loads everything that the server offers. @throws ExtensionError */
  loadDefinitions (config: Config): Promise<readonly Definition[]>
  /** Prints to standard output. */
  print (text: string): void
  /** Prints to standard error. */
  printError (text: string): void
}

/** Wrong arguments: the message and the command's usage are printed. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Parses options that all take a value, and no positional arguments. @throws UsageError */
export function parseOptions<Name extends string> (
  args: readonly string[],
  names: readonly Name[]
): Partial<Record<Name, string>> {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]))
  try {
    return parseArgs({ args: joinValues(args, names), options }).values as Partial<Record<Name, string>>
  } catch (err) {
    throw new UsageError((err as Error).message, { cause: err })
  }
}

/** Writes `--grant -a1` as `--grant=-a1`: an id may start with a dash, and `parseArgs` takes that for an option. */
function joinValues (args: readonly string[], names: readonly string[]): string[] {
  const joined: string[] = []
  for (let index = 0; index < args.length; index++) {
    const [arg, value] = [args[index]!, args[index + 1]]
    const takesValue = names.some((name) => arg === `--${name}`) && value !== undefined && !value.startsWith('--')
    joined.push(takesValue ? `${arg}=${value}` : arg)
    if (takesValue) index++
  }
  return joined
}
