import type { Command as CommanderCommand, OptionValues } from '@commander-js/extra-typings'
import type { Config } from '../config/config.ts'
import type { ConfigInspection } from '../config/load.ts'
import type { Definition } from '../define/definition.ts'
import type { DeclaredMount } from '../mounts/settings/define-mount.ts'

/** A subcommand of `seed`. Each file of this folder exports one as `command`, made by `defineCommand`. */
export interface Command {
  /** Adds description, options, examples and action to the subcommand of this name. */
  register (parser: CommanderCommand, context: CommandContext, onEnd: (exitCode: number) => void): void
}

/** Values that commander has parsed; the types come from the declarations of arguments and options. */
interface Declared {
  opts (): OptionValues
  processedArgs: unknown[]
}

/** The specification of a command, one in each file of this folder. */
export interface CommandSpecification<Parser extends Declared> {
  /** Paragraphs that say what it does; lines are broken when they are printed. */
  description: readonly string[]
  /** Command lines, each with what it is for. */
  examples: ReadonlyArray<readonly [commandLine: string, purpose: string]>
  /** Declares arguments and options with commander; their types are inferred. */
  declare (parser: CommanderCommand): Parser
  /**
   * @returns the exit code
   * @throws UsageError for wrong arguments; any other error has a message for the operator
   */
  run (
    options: ReturnType<Parser['opts']>, context: CommandContext, ...args: Parser['processedArgs']
  ): Promise<number>
}

/** The process, as commands see it: they read no environment of their own. */
export interface CommandContext {
  /** Reads the settings that the server reads. @throws ConfigError with every problem */
  readConfig (): Promise<Config>
  /** Reads the settings as far as they can be used, and every problem. */
  inspectConfig (): Promise<ConfigInspection>
  /** Reads single settings as they are, without judging the others. */
  readSettings (): ReadonlyMap<string, string>
  /** Loads everything that the server offers, and the mounts of extensions. @throws ExtensionError */
  loadOffers (config: Config): Promise<{ definitions: readonly Definition[], mounts: readonly DeclaredMount[] }>
  /**
   * Starts the server with settings that take precedence over the environment.
   *
   * @returns 0 as soon as it listens; 1 if it cannot start, which is printed
   */
  serve (overrides: Record<string, string>): Promise<number>
  /** Starts the server next to the development provider, with these settings. Returns like `serve`. */
  startDemo (overrides: Record<string, string>): Promise<number>
  /** Prints to standard output. */
  print (text: string): void
  /** Prints to standard error. */
  printError (text: string): void
}

/** Wrong arguments: the message is printed with a reference to the command's help. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Makes a subcommand of its specification. */
export function defineCommand<Parser extends Declared> (
  { description, examples, declare, run }: CommandSpecification<Parser>
): Command {
  return {
    register (parser, context, onEnd) {
      const declared = declare(parser.description(description.join('\n\n')))
      parser.addHelpText('after', `\nExamples:\n${examples.map(formatExample).join('\n')}`)
      parser.action(async () => {
        const options = declared.opts() as ReturnType<Parser['opts']>
        refuseOptionsAsValues(options)
        onEnd(await run(options, context, ...declared.processedArgs))
      })
    }
  }
}

function formatExample ([commandLine, purpose]: readonly [string, string]): string {
  return `  $ ${commandLine}\n      ${purpose}`
}

/** Refuses `--subject --client x`: the value was forgotten. One dash may begin a value, such as a grant's id. */
function refuseOptionsAsValues (options: OptionValues): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'string' || !value.startsWith('--')) continue
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    throw new UsageError(`option '--${flag}' needs a value ('${value}' is an option)`)
  }
}

/** Parses the value of `--timeout`. @throws UsageError */
export function parseSeconds (value: string): number {
  if (!(Number(value) > 0 && Number(value) <= 86_400)) throw new UsageError('--timeout is a number of seconds')
  return Number(value)
}
