import { posix } from 'node:path'
import { secretHeaderOf, writeClientFile } from './client-file.ts'
import { writeClientTestFile, writeMockFile } from './client-test-file.ts'
import { ImportError, readDescription } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import { readManifest, writeFiles, writeManifest } from './manifest.ts'
import type { FileOutcome } from './manifest.ts'
import { createNameRegistry, toKebabCase, toSnakeCase } from './names.ts'
import type { NameRegistry } from './names.ts'
import { isEmptySelection, listOperations, selectOperations } from './operations.ts'
import type { Operation, Refusal, Selection } from './operations.ts'
import { planTool } from './plan.ts'
import type { ToolPlan } from './plan.ts'
import { namesOf } from './target.ts'
import type { ImportTarget } from './target.ts'
import { writeTestFile } from './test-file.ts'
import { toolFileName, writeToolFile } from './tool-file.ts'
import { cleanText } from './texts.ts'

/** Operations of which tools are made without being asked for. */
const MAX_UNCHOSEN = 20
/** Tools that most clients can hold. */
const MAX_TOOLS = 200
const MAX_API_NAME = 32

export interface ImportOptions {
  /** A file, or an https URL. */
  source: string
  out: string
  tests: string
  /** Name of the API in files and settings; made of its title by default. */
  name: string | undefined
  /** Text in front of the names of all tools. */
  prefix: string
  selection: Selection
}

/** The operations of a description, of which none was chosen. */
export interface OperationList {
  kind: 'list'
  title: string
  operations: readonly Operation[]
  refusals: readonly Refusal[]
}

/** The result of an import. */
export interface ImportReport {
  kind: 'import'
  title: string
  operations: number
  tools: number
  files: readonly FileOutcome[]
  /** Operations without a tool. */
  refusals: readonly Refusal[]
  /** Parts of operations that their tools do not have. */
  notes: readonly Refusal[]
  /** Tools of earlier runs whose operation is gone. */
  removed: ReadonlyArray<{ key: string, file: string }>
  settings: { url: string, tokenFile: string, audience: string, scopes: string }
}

/** Lists the operations of a description. @throws ImportError */
export async function listOpenApi (source: string): Promise<OperationList> {
  const api = await readDescription(source)
  return { kind: 'list', title: titleOf(api), ...listOperations(api) }
}

/**
 * Writes tools, a client and tests for operations of an API.
 *
 * @returns a list to choose from if there are too many operations, and none was chosen
 * @throws ImportError
 */
export async function importOpenApi (options: ImportOptions): Promise<ImportReport | OperationList> {
  const api = await readDescription(options.source)
  const title = titleOf(api)
  const { operations, refusals: unreadable } = listOperations(api)
  const isUnchosen = isEmptySelection(options.selection)
  if (isUnchosen && operations.length > MAX_UNCHOSEN) return { kind: 'list', title, operations, refusals: unreadable }
  const chosen = isUnchosen ? operations : selectOperations(operations, options.selection)
  if (chosen.length > MAX_TOOLS) {
    throw new ImportError(`${chosen.length} tools are more than clients can hold (${MAX_TOOLS}): choose fewer`)
  }
  const target = {
    name: nameOf(options.name ?? infoOf(api)['title']),
    out: posix.normalize(options.out),
    tests: posix.normalize(options.tests)
  }
  const { manifestFile, settings } = namesOf(target)
  const manifest = await readManifest(manifestFile)
  const names = createNameRegistry(new Map(Object.entries(manifest.tools)))
  const { plans, refusals, notes } = planTools(api, chosen, names, options.prefix)
  if (plans.length === 0) throw new ImportError(nothingToWrite([...unreadable, ...refusals]))

  const { outcomes, digests } = await writeFiles(createFiles(api, plans, target), manifest)
  const tools = { ...manifest.tools, ...Object.fromEntries(plans.map(({ operation, name }) => [operation.key, name])) }
  await writeManifest(manifestFile, tools, digests)
  const keys = new Set(operations.map(({ key }) => key))
  return {
    kind: 'import',
    title,
    operations: operations.length,
    tools: plans.length,
    files: outcomes,
    refusals: [...unreadable, ...refusals],
    notes,
    removed: Object.entries(manifest.tools).filter(([key]) => !keys.has(key))
      .map(([key, name]) => ({ key, file: posix.join(target.out, toolFileName(name)) })),
    settings
  }
}

function titleOf (api: ApiDescription): string {
  const { title, version } = infoOf(api)
  return cleanText(`${String(title)} ${String(version)}`, 100)
}

/** The validator has seen that a description has title and version. */
function infoOf ({ document }: ApiDescription): Json {
  return document['info'] as Json
}

/** Returns the name of an API: its title, without what says nothing. */
function nameOf (text: unknown): string {
  const words = toSnakeCase(String(text).slice(0, 200).replace(/\s+v?\d[\w.-]*$/i, ''))
  const name = words.replace(/^(swagger|openapi)_(?=.)/, '').replace(/(?<=.)_api$/, '')
  return name.slice(0, MAX_API_NAME).replace(/_+$/, '')
}

interface Plans {
  plans: ToolPlan[]
  refusals: Refusal[]
  notes: Refusal[]
}

function planTools (api: ApiDescription, chosen: readonly Operation[], names: NameRegistry, prefix: string): Plans {
  const plans: ToolPlan[] = []
  const refusals: Refusal[] = []
  const notes: Refusal[] = []
  for (const operation of chosen) {
    const { key, id } = operation
    try {
      const note = (reason: string): void => { notes.push({ key, reason }) }
      const plan = planTool(api, operation, '', note)
      plans.push({ ...plan, name: names.choose(`${prefix}${id ?? key}`, key) })
    } catch (err) {
      refusals.push({ key, reason: (err as ImportError).message })
    }
  }
  return { plans, refusals, notes }
}

function nothingToWrite (refusals: readonly Refusal[]): string {
  const reasons = refusals.slice(0, 5).map(({ key, reason }) => `${key}: ${reason}`)
  return ['No tool can be made of this description', ...reasons].join('. ')
}

function createFiles (api: ApiDescription, plans: readonly ToolPlan[], target: ImportTarget): Map<string, string> {
  const { clientFile, clientTestFile, mockFile } = namesOf(target)
  const files = new Map([
    [clientFile, writeClientFile(api, target)],
    [mockFile, writeMockFile(target)],
    [clientTestFile, writeClientTestFile(target, secretHeaderOf(api))]
  ])
  for (const plan of plans) {
    files.set(posix.join(target.out, toolFileName(plan.name)), writeToolFile(plan, target))
    files.set(posix.join(target.tests, `${toKebabCase(plan.name)}.test.ts`), writeTestFile(plan, target))
  }
  return files
}
