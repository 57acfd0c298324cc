import { createReadStream, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { createVerifier } from '../audit/chain.ts'
import type { FoundChain, Verification } from '../audit/chain.ts'
import { UsageError, defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Checks that no line of an audit log was changed, removed, inserted or moved (AUDIT_CHAIN_KEY). Name the files ' +
    'of a server in the order in which they were written; lines of its log between them are skipped.',
    'What was cut off at the end of a chain does not show: compare the last line of each chain with what you know of ' +
    'it. The exit code is 0 if every line is where it was, and 1 otherwise.'
  ],
  examples: [
    ['seed audit verify /var/log/seed/audit.log', 'Check one file'],
    ['seed audit verify audit.log.2 audit.log.1 audit.log', 'Check that rotated files follow one another'],
    ['seed audit verify --json audit.log | jq .problems', 'For scripts']
  ],

  declare: (parser) => parser
    .argument('<action>', 'verify')
    .argument('<files...>', 'files of the audit log, oldest first')
    .option('--json', 'print the findings as JSON', false),

  async run ({ json }, { readSettings, print }, action, files) {
    if (action !== 'verify') throw new UsageError(`unknown action '${action}': the only one is verify`)
    const found = await verify(files, readKey(readSettings()))
    print(json ? JSON.stringify(found, null, 2) : describe(found))
    return found.problems.length === 0 && found.chains.length > 0 ? 0 : 1
  }
})

async function verify (files: readonly string[], key: string): Promise<Verification> {
  const verifier = createVerifier(key)
  for (const file of files) {
    let number = 0
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      verifier.check(line, file, ++number)
    }
  }
  return verifier.result()
}

function readKey (settings: ReadonlyMap<string, string>): string {
  const file = settings.get('AUDIT_CHAIN_KEY_FILE')
  const key = settings.get('AUDIT_CHAIN_KEY') ?? (file === undefined ? undefined : readFileSync(file, 'utf8').trim())
  if (key === undefined) throw new UsageError('AUDIT_CHAIN_KEY is not set: it is the key that the server has')
  return key
}

function describeChain ({ chain, first, last, lastTime }: FoundChain): string {
  const text = `Chain ${chain}: lines ${first} to ${last}, the last of ${lastTime}`
  return first === 1 ? text : `${text}. It begins in an earlier file`
}

function describe ({ lines, others, chains, problems, lost }: Verification): string {
  return [
    `${lines} lines of the audit log${others === 0 ? '' : `, and ${others} others`}`,
    ...chains.map(describeChain),
    ...(chains.length === 0 ? ['No line belongs to a chain with this key'] : []),
    ...(lost === 0 ? [] : [`The server says that it could not write ${lost} lines`]),
    ...problems.map(({ file, line, message }) => `${file}:${line}: ${message}`),
    problems.length === 0 ? 'Nothing was changed' : `${problems.length} findings`
  ].join('\n')
}
