import type { Config } from '../config/config.ts'
import { printableJson } from '../json/printable.ts'
import type { Log } from '../logging/log.ts'
import { formatStory, tellStory } from '../trace/story.ts'
import type { Story } from '../trace/story.ts'
import { readTrace } from '../trace/traces.ts'
import { UsageError, defineCommand } from './command.ts'
import { createErrorLog, withStore } from './open-store.ts'

export const command = defineCommand({
  description: [
    'Tells what happened in a sign-in, by the reference that its page, its error or the log shows: what arrived, ' +
    'what was decided, what the provider answered, how long it took, where it stopped, and what would help. Calls ' +
    'of /mcp that were refused have a reference too. No token, code or secret is in it.',
    'The exit code is 0 if something is recorded, and 1 otherwise. Steps are kept for a day.'
  ],
  examples: [
    ['seed trace Xw3_bT0aQk9z', 'Tell the story of a sign-in'],
    ['seed trace Xw3_bT0aQk9z --json | jq .remedy', 'Print what would help']
  ],

  declare: (parser) => parser
    .argument('<reference>', 'twelve characters')
    .option('--json', 'print the story as JSON', false),

  async run ({ json }, { readConfig, print, printError }, reference) {
    if (!/^[\w-]{12}$/.test(reference)) {
      throw new UsageError('a reference has twelve characters: letters, digits, - and _')
    }
    const story = await findStory(await readConfig(), reference, createErrorLog(printError))
    if (story === undefined) {
      printError(NO_TRACE)
      return 1
    }
    print(json ? printableJson(story, 2) : formatStory(story))
    return 0
  }
})

const NO_TRACE = 'Nothing is recorded under this reference. Steps are kept for a day, and of no more than ' +
  'TRACE_LIMIT_TOTAL sign-ins. The reference may be mistyped; this command may read another store than the server ' +
  '(REDIS_URL, REDIS_KEY_PREFIX); or its address had used up its share. The log has a line with the reference'

async function findStory (config: Config, reference: string, log: Log): Promise<Story | undefined> {
  return await withStore(config, log, async (store) => {
    const steps = await readTrace(store, reference)
    return steps.length === 0 ? undefined : tellStory(reference, steps, config.oauth.mode)
  })
}
