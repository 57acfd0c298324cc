import { posix } from 'node:path'
import { writeClientFile } from './client-file.ts'
import { writeClientTestFile, writeMockFile } from './client-test-file.ts'
import { credentialsOf, secretHeaderOf } from './credentials.ts'
import type { SecretHeader } from './credentials.ts'
import { ImportError, readDescription } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import { importCommand } from './import-command.ts'
import { isPresent, readFilesOfOthers, readManifest, writeFiles, writeManifest } from './manifest.ts'
import type { FileOutcome, Manifest } from './manifest.ts'
import { createNameRegistry, toKebabCase, toSnakeCase } from './names.ts'
import type { NameRegistry } from './names.ts'
import { isEmptySelection, listOperations, selectOperations } from './operations.ts'
import type { Operation, Refusal, Selection } from './operations.ts'
import { planTool } from './plan.ts'
import type { ToolPlan } from './plan.ts'
import { commonServerOf, otherServersOf, toDefaultUrl } from './servers.ts'
import type { OtherServer } from './servers.ts'
import type { ApiSettings } from './setting-names.ts'
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
  /** Files of earlier runs whose operation is gone, or of another server: those that are still there. */
  removed: ReadonlyArray<{ key: string, file: string }>
  settings: ApiSettings
  /** The API's URL in the description, if the client has no default because it is no plain https URL. */
  serverHint: string
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
  const { manifestFile, reservedToolNames, settings } = namesOf(target)
  const manifest = await readManifest(manifestFile)
  const names = createNameRegistry(new Map(Object.entries(manifest.tools)), reservedToolNames)
  const possible = planTools(api, chosen)
  const earlier = operations.filter(({ key }) => Object.hasOwn(manifest.tools, key))
  const server = commonServerOf(api, earlier.length > 0 ? earlier : possible.plans.map(({ operation }) => operation))
  const elsewhere = otherServersOf(api, operations, server)
  const local = possible.plans.filter(({ operation: { key } }) => !elsewhere.has(key))
  const filesOfOthers = await readFilesOfOthers(manifestFile)
  const { plans, taken } = refuseTakenFiles(nameTools(local, names, options.prefix), target, manifest, filesOfOthers)
  const refusals = [
    ...unreadable, ...possible.refusals, ...refuseElsewhere(possible.plans, elsewhere, options, target.name), ...taken
  ]
  if (plans.length === 0) throw new ImportError(nothingToWrite(refusals))

  const plannedKeys = new Set(plans.map(({ operation }) => operation.key))
  // The client is also that of the tools of earlier runs.
  const served = operations.filter(({ key }) =>
    plannedKeys.has(key) || (Object.hasOwn(manifest.tools, key) && !elsewhere.has(key)))
  const defaultUrl = toDefaultUrl(api, server)
  const header = secretHeaderOf(api, served)
  const { outcomes, digests } = await writeFiles(createFiles(plans, target, header, defaultUrl), manifest)
  const tools = { ...manifest.tools, ...Object.fromEntries(plans.map(({ operation, name }) => [operation.key, name])) }
  await writeManifest(manifestFile, tools, digests)
  const keys = new Set(operations.map(({ key }) => key).filter((key) => !elsewhere.has(key)))
  return {
    kind: 'import',
    title,
    operations: operations.length,
    tools: plans.length,
    files: outcomes,
    refusals,
    notes: [...possible.notes.filter(({ key }) => plannedKeys.has(key)), ...noteUnsentSecrets(api, served, header)],
    removed: await findRemoved(manifest.tools, keys, target, filesOfOthers),
    settings,
    serverHint: defaultUrl === '' ? cleanText(server, 200) : ''
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

/** Plans tools, without their names. */
function planTools (api: ApiDescription, chosen: readonly Operation[]): Plans {
  const plans: ToolPlan[] = []
  const refusals: Refusal[] = []
  const notes: Refusal[] = []
  for (const operation of chosen) {
    const { key } = operation
    try {
      plans.push(planTool(api, operation, '', (reason) => { notes.push({ key, reason }) }))
    } catch (err) {
      refusals.push({ key, reason: (err as ImportError).message })
    }
  }
  return { plans, refusals, notes }
}

function nameTools (plans: readonly ToolPlan[], names: NameRegistry, prefix: string): ToolPlan[] {
  return plans.map((plan) => {
    const { id, key } = plan.operation
    return { ...plan, name: names.choose(`${prefix}${id ?? key}`, key) }
  })
}

/** The client calls one server, and sends it a secret: an operation of another one needs a client of its own. */
function refuseElsewhere (
  plans: readonly ToolPlan[], elsewhere: ReadonlyMap<string, OtherServer>, options: ImportOptions, name: string
): Refusal[] {
  return plans.flatMap(({ operation: { key } }) => {
    const other = elsewhere.get(key)
    if (other === undefined) return []
    const suffix = `_${other.number}`
    const command = importCommand(options, key, `${name.slice(0, MAX_API_NAME - suffix.length)}${suffix}`)
    const server = cleanText(other.url, 200) || 'that of the description'
    return [{ key, reason: `its server is ${server}, which needs a client of its own: ${command}` }]
  })
}

/** Leaves out tools whose files are of another import. */
function refuseTakenFiles (
  plans: readonly ToolPlan[],
  target: ImportTarget,
  { files: own }: Manifest,
  filesOfOthers: ReadonlyMap<string, string>
): { plans: ToolPlan[], taken: Refusal[] } {
  const free: ToolPlan[] = []
  const taken: Refusal[] = []
  for (const plan of plans) {
    const file = filesOf(plan.name, target).find((path) => own[path] === undefined && filesOfOthers.has(path))
    if (file === undefined) {
      free.push(plan)
    } else {
      const owner = filesOfOthers.get(file)!
      const reason = `${file} is of another import (${owner}): take its --name, choose a --prefix, or remove the file`
      taken.push({ key: plan.operation.key, reason })
    }
  }
  return { plans: free, taken }
}

/** The client sends one secret, and that in a header: URLs are in the logs of proxies and servers. */
function noteUnsentSecrets (
  api: ApiDescription, operations: readonly Operation[], { name: sent }: SecretHeader
): Refusal[] {
  const unsent = (['header', 'query'] as const).flatMap((location) =>
    credentialsOf(api, operations, location).filter((name) => location === 'query' || name !== sent)
      .map((name) => `${cleanText(name, 80)} (${location})`))
  if (unsent.length === 0) return []
  const names = unsent.join(', ')
  const reason = `secrets are no arguments, and the client sends one, in the header ${sent}, but not ${names}`
  return [{ key: 'all operations', reason }]
}

function nothingToWrite (refusals: readonly Refusal[]): string {
  const reasons = refusals.slice(0, 5).map(({ key, reason }) => `${key}: ${reason}`)
  return ['No tool can be made of this description', ...reasons].join('. ')
}

/**
 * Returns the files of tools whose operation is gone, or of another server: for each the tool, or its test if that
 * alone is there.
 */
async function findRemoved (
  tools: Manifest['tools'], keys: ReadonlySet<string>, target: ImportTarget, filesOfOthers: ReadonlyMap<string, string>
): Promise<ImportReport['removed']> {
  const removed: Array<{ key: string, file: string }> = []
  for (const [key, name] of Object.entries(tools)) {
    if (keys.has(key)) continue
    for (const file of filesOf(name, target)) {
      if (filesOfOthers.has(file) || !await isPresent(file)) continue
      removed.push({ key, file })
      break
    }
  }
  return removed
}

/** Returns the paths of a tool and its test. */
function filesOf (name: string, { out, tests }: ImportTarget): [tool: string, test: string] {
  return [posix.join(out, toolFileName(name)), posix.join(tests, `${toKebabCase(name)}.test.ts`)]
}

/** @throws ImportError if two files have one path: one would replace the other */
function createFiles (
  plans: readonly ToolPlan[], target: ImportTarget, header: SecretHeader, defaultUrl: string
): Map<string, string> {
  const { clientFile, clientTestFile, mockFile, manifestFile } = namesOf(target)
  const files = new Map<string, string>()
  // macOS and Windows know no difference between upper and lower case.
  const taken = new Set([manifestFile.toLowerCase()])
  const add = (path: string, source: string): void => {
    if (taken.has(path.toLowerCase())) {
      throw new ImportError(`Two files would be ${path}: give each tool a name of its own in ${manifestFile}`)
    }
    taken.add(path.toLowerCase())
    files.set(path, source)
  }
  add(clientFile, writeClientFile(target, header, defaultUrl))
  add(mockFile, writeMockFile(target))
  add(clientTestFile, writeClientTestFile(target, header))
  for (const plan of plans) {
    const [tool, test] = filesOf(plan.name, target)
    add(tool, writeToolFile(plan, target))
    add(test, writeTestFile(plan, target))
  }
  return files
}
