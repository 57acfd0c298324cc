import { readConfig } from '../../plugins/config.ts'
import { runCommand as runCommandLine } from '../../src/commands/run-command.ts'
import { createDefinitionLoader } from '../../src/definitions.ts'

/** Runs `seed <args>` in this process, with exactly this environment and no `.env`. */
export async function runCommand (
  args: readonly string[], environment: Record<string, string>
): Promise<{ code: number, output: string }> {
  let output = ''
  const print = (text: string): void => { output += `${text}\n` }
  const code = await runCommandLine(args, {
    readConfig: async () => await readConfig({ environment }),
    loadDefinitions: async (config) => await createDefinitionLoader().load(config),
    print,
    printError: print
  })
  return { code, output }
}
