import { relative } from 'node:path'
import { Argument } from '@commander-js/extra-typings'
import { withoutControls } from '../json/printable.ts'
import type { FileOutcome } from '../import/manifest.ts'
import type { ImportReport, OperationList } from '../import/import-openapi.ts'
import type { Operation, Refusal } from '../import/operations.ts'
import { DEFAULT_FOLDERS } from '../import/import-command.ts'
import { UsageError, defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Makes tools of an OpenAPI description (3.0 or 3.1, JSON or YAML): a file for each operation, with its schemas ' +
    'and its test, and one client that all of them use. They are sources of yours from then on: running the command ' +
    'again keeps what you have changed, and writes the new version beside it.',
    'Without --tag, --path or --operation, a large description is only listed.'
  ],
  examples: [
    ['seed import openapi openapi.yaml --out src/tools', 'Make tools of a small API'],
    ['seed import openapi https://api.example.com/openapi.json --list', 'See what there is to choose from'],
    ['seed import openapi github.json --out src/tools --tag issues --operation repos/get', 'Choose operations']
  ],

  declare: (parser) => parser
    .addArgument(new Argument('<kind>', 'what to import').choices(['openapi'] as const))
    .argument('<spec>', 'the description: a file, or an https URL')
    .option('--out <folder>', 'where to write the tools', DEFAULT_FOLDERS.out)
    .option('--tests <folder>', 'where to write their tests', DEFAULT_FOLDERS.tests)
    .option('--tag <tag...>', 'choose the operations with a tag')
    .option('--path <path...>', 'choose the operations of a path; * at the end stands for all that begin so')
    .option('--operation <id...>', 'choose an operation by its operationId, or as "GET /pets"')
    .option('--name <name>', 'the API\'s name in files and settings, instead of its title')
    .option('--prefix <text>', 'text in front of the names of the tools', '')
    .option('--list', 'only list the operations', false),

  async run (options, { print, printError }, _kind, spec) {
    const { importOpenApi, listOpenApi } = await import('../import/import-openapi.ts')
    if (options.list) {
      print(formatList(await listOpenApi(spec)))
      return 0
    }
    const result = await importOpenApi({
      source: spec,
      out: toRelativePath('--out', options.out),
      tests: toRelativePath('--tests', options.tests),
      name: options.name,
      prefix: options.prefix,
      selection: { tags: options.tag ?? [], paths: options.path ?? [], operations: options.operation ?? [] }
    })
    if (result.kind === 'import') {
      print(formatReport(result))
      return 0
    }
    print(formatList(result))
    printError(`\nThese are ${result.operations.length} operations: choose with --tag, --path or --operation`)
    return 1
  }
})

/** Paths are relative to the current folder, as the manifest holds them. @throws UsageError */
function toRelativePath (option: string, path: string): string {
  const normalized = relative('.', path).replaceAll('\\', '/')
  if (normalized.startsWith('..')) throw new UsageError(`${option} must be a folder below the current one`)
  return normalized === '' ? '.' : normalized
}

function formatList ({ title, operations, refusals }: OperationList): string {
  const byTag = new Map<string, Operation[]>()
  for (const operation of operations) {
    const tag = operation.tags[0] ?? ''
    byTag.set(tag, [...byTag.get(tag) ?? [], operation])
  }
  const lines = Array.from(byTag, ([tag, members]) => [
    tag === '' ? '\nwithout a tag' : `\n--tag ${tag}`,
    ...members.map(({ key, id, summary }) => `  ${key}${id === undefined ? '' : ` (${id})`}  ${summary}`)
  ].join('\n'))
  return withoutControlsInLines([title, ...lines, ...formatRefusals('Not readable:', refusals)].join('\n'))
}

function formatReport (report: ImportReport): string {
  const { title, operations, tools, files, refusals, notes, removed, settings, serverHint } = report
  const removedLines = removed.map(({ key, file }) => `  ${file} (${key})`)
  return withoutControlsInLines([
    `${title}: ${tools} of ${operations} operations are tools.\n`,
    ...files.filter(({ outcome }) => outcome !== 'unchanged').map(formatFile),
    ...(files.every(({ outcome }) => outcome === 'unchanged') ? ['  Nothing has changed.'] : []),
    ...formatRefusals('\nWithout a tool:', refusals),
    ...formatRefusals('\nIncomplete:', notes),
    ...(removed.length === 0 ? [] : ['\nNo longer tools of this API; remove them with their tests:', ...removedLines]),
    '\nNext:\n',
    '  1. Read the tools: descriptions are the API\'s own words, and everybody who may sign in may call them',
    '     until you add a policy (scopes, groups).',
    `  2. Set ${settings.url}${serverHint === '' ? '' : ` (in the description: ${serverHint})`}, and one of`,
    `     ${settings.tokenFile}: a secret in a file`,
    `     ${settings.audience}: a token of the caller for the API, with ${settings.scopes}`,
    `     ${settings.assertionAudience}: an assertion about the caller, with ${settings.assertionClaims}`,
    '  3. npm test'
  ].join('\n'))
}

const OUTCOMES: Record<FileOutcome['outcome'], string> = {
  written: 'written  ',
  updated: 'updated  ',
  unchanged: 'unchanged',
  kept: 'kept     ',
  deleted: 'left out '
}

function formatFile ({ path, outcome, newVersion }: FileOutcome): string {
  const line = `  ${OUTCOMES[outcome]} ${path}`
  if (outcome === 'deleted') return `${line}: it was deleted`
  if (outcome !== 'kept') return line
  return newVersion === undefined
    ? `${line}: you have changed it`
    : `${line}: you have changed it; the new version is ${newVersion}`
}

function formatRefusals (title: string, refusals: readonly Refusal[]): string[] {
  return refusals.length === 0 ? [] : [title, ...refusals.map(({ key, reason }) => `  ${key}: ${reason}`)]
}

function withoutControlsInLines (text: string): string {
  return text.split('\n').map(withoutControls).join('\n')
}
