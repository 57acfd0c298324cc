import { fileURLToPath } from 'node:url'
import { describeDefinition, isDefinition } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import { ExtensionError, reasonOf } from './errors.ts'
import { filesOf, locate, specifierOf } from './locate.ts'
import type { Place } from './locate.ts'
import { checkShape } from './shape.ts'

export { ExtensionError } from './errors.ts'

/** What a file, or a package, that was loaded offers. */
export interface LoadedFile {
  /** Absolute path; of a package its name. */
  file: string
  definitions: readonly Definition[]
}

export interface LoadOptions {
  /** The folder that relative paths and packages are looked for from: the one that Seed is started in. */
  from: string
  /** Throws for a definition that cannot be served: what knows how lies above this folder. */
  check?: (definitions: readonly Definition[]) => void
  /** Loads files again that were loaded under another number. */
  version?: number
  /** Whether Node runs TypeScript by itself. */
  runsTypeScript?: boolean
}

/** Those of this repository; one that does not exist is an empty one, as git keeps none that are empty. */
export const OWN_FOLDERS = ['tools', 'prompts', 'resources'].map((name) => fileURLToPath(new URL(`../${name}/`, import.meta.url)))

/** Whether Node runs TypeScript by itself (22.18 and newer). */
const RUNS_TYPESCRIPT = Boolean((process.features as { typescript?: unknown }).typescript)

/** Compiled as this file is, or not. */
const OWN_ENDING = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

/** @throws ExtensionError */
export async function loadOwn (options: Omit<LoadOptions, 'from'> = {}): Promise<LoadedFile[]> {
  const files = await Promise.all(OWN_FOLDERS.map(async (folder) => await filesOf(folder, [OWN_ENDING])))
  return await loadAll(files.flat().map((file) => ({ kind: 'file', file })), { ...options, runsTypeScript: true })
}

/**
 * Everything that this server offers: its own, and that of SEED_EXTENSIONS. What these import from 'seed-mcp-server' must
 * have been linked (link.ts).
 *
 * @param entries of SEED_EXTENSIONS: folders, files, packages
 * @throws ExtensionError
 */
export async function loadDefinitionFiles (entries: readonly string[], options: LoadOptions): Promise<LoadedFile[]> {
  const own = await loadOwn(options)
  const places = await Promise.all(entries.map(async (entry) => await locate(entry, options.from)))
  return [...own, ...await loadAll(places.flat(), options)]
}

async function loadAll (places: readonly Place[], options: Omit<LoadOptions, 'from'>): Promise<LoadedFile[]> {
  return await Promise.all(places.map(async (place) => await load(place, options)))
}

async function load (place: Place, { check = () => {}, version, runsTypeScript = RUNS_TYPESCRIPT }: Omit<LoadOptions, 'from'>): Promise<LoadedFile> {
  const { file } = place
  if (place.kind === 'file' && file.endsWith('.ts') && !runsTypeScript) {
    throw new ExtensionError(`${file} is TypeScript, which Node ${process.versions.node} does not run: compile it to JavaScript, or use Node 22.18 or newer`)
  }
  const definitions = await importDefinitions(place, version)
  if (definitions.length === 0) throw new ExtensionError(`${file} exports nothing that defineTool, definePrompt, defineResource or defineResourceTemplate made (a file that others import has a name that begins with _)`)
  try {
    definitions.forEach(checkShape)
    check(definitions)
  } catch (err) {
    throw new ExtensionError(`${file} cannot be offered: ${(err as Error).message}`, { cause: err })
  }
  return { file, definitions }
}

async function importDefinitions (place: Place, version: number | undefined): Promise<Definition[]> {
  try {
    return [...new Set(Object.values(await import(specifierOf(place, version)) as Record<string, unknown>))].filter(isDefinition)
  } catch (err) {
    throw new ExtensionError(`${place.file} cannot be loaded: ${reasonOf(err)}`, { cause: err })
  }
}

/** What all files offer together. @throws ExtensionError where two offer the same */
export function joinDefinitions (files: readonly LoadedFile[]): Definition[] {
  const owners = new Map<string, string>()
  return files.flatMap(({ file, definitions }) => definitions.map((definition) => {
    const what = describeDefinition(definition)
    const other = owners.get(what)
    if (other !== undefined) throw new ExtensionError(`${what} is in ${other} and in ${file}: give one of them another name`)
    owners.set(what, file)
    return definition
  }))
}
