import { readConfig, readConfigInspection } from '../../plugins/config.ts'
import type { CommandContext } from '../../src/commands/command.ts'
import { runCommand as runCommandLine } from '../../src/commands/run-command.ts'
import { readVariables } from '../../src/config/variables.ts'
import { loadOffers } from '../../src/definitions.ts'

export interface CommandOutcome {
  code: number
  /** Both outputs, in order. */
  output: string
  printed: string
  printedErrors: string
}

/** What a command may do to the process: it starts no server unless the test has one. */
type Process = Partial<Pick<CommandContext, 'serve' | 'startDemo'>>

/**
 * Runs `seed <args>` in this process, with exactly this environment and no `.env`.
 *
 * @param onError called with each text that is printed to standard error
 */
export async function runCommand (
  args: readonly string[],
  environment: Record<string, string>,
  onError: (text: string) => void = () => {},
  { serve = async () => 1, startDemo = async () => 1 }: Process = {}
): Promise<CommandOutcome> {
  let [output, printed, printedErrors] = ['', '', '']
  const code = await runCommandLine(args, {
    readConfig: async () => await readConfig({ environment }),
    inspectConfig: async () => await readConfigInspection({ environment }),
    readSettings: () => new Map(Object.entries(readVariables(environment, false))),
    loadOffers,
    serve,
    startDemo,
    print (text) {
      output += `${text}\n`
      printed += `${text}\n`
    },
    printError (text) {
      output += `${text}\n`
      printedErrors += `${text}\n`
      onError(text)
    }
  })
  return { code, output, printed, printedErrors }
}
