import { parseArgs } from 'node:util'
import { examine } from '../doctor/examine.ts'
import { createReport, exitCodeOf, printReport } from '../doctor/report.ts'
import { UsageError } from './command.ts'
import type { Command } from './command.ts'

export const command: Command = {
  usage: `Usage: seed doctor [--json]

Checks the settings, the OpenID provider, Redis, the public URL, and tools, prompts and resources. For each problem it
says what was asked, what came back, what that means, and the setting to change. Run it before the first start, where
the server will run. Nobody signs in: the provider gets requests with made-up codes and tokens. No secret is printed.

  --json  prints the findings as JSON

The exit code is 0 if nothing is wrong, 1 if there are warnings, and 2 if it would not work.`,

  async run (args, { inspectConfig, loadDefinitions, print }) {
    const { json } = parse(args)
    const inspection = await inspectConfig()
    const report = createReport(await examine({ inspection, loadDefinitions }), inspection.secrets)
    print(json ? JSON.stringify(report, null, 2) : printReport(report))
    return exitCodeOf(report)
  }
}

/** @throws UsageError */
function parse (args: readonly string[]): { json: boolean } {
  try {
    const { values: { json = false } } = parseArgs({ args: [...args], options: { json: { type: 'boolean' } } })
    return { json }
  } catch (err) {
    throw new UsageError((err as Error).message, { cause: err })
  }
}
