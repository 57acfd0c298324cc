import { dirname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { DefinitionError, describeDefinition, isDefinition, recordFile } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import { isMountDefinition } from '../mounts/settings/define-mount.ts'
import type { DeclaredMount } from '../mounts/settings/define-mount.ts'
import { checkDeclaration } from './definition-schema.ts'
import { ExtensionError, describeImportError } from './errors.ts'
import { filesOf, locateModules, specifierOf } from './locate.ts'
import type { ModuleLocation } from './locate.ts'

/** A definition, and where it comes from. */
export interface LoadedDefinition {
  definition: Definition
  /** The absolute path of its file, or the name of its package. */
  file: string
}

export interface LoadOptions {
  /** The folder that relative paths and packages are resolved from: the one that Seed is started in. */
  from: string
  /** Reloads files that were loaded under another number, for development. */
  version?: number
  /** Receives the mounts that the modules export. */
  mounts?: DeclaredMount[]
  /** Maximum time for loading one module of an extension; half a minute by default. */
  timeoutMs?: number
  /** Whether Node runs TypeScript; detected by default. */
  runsTypeScript?: boolean
}

/** Seed's own folders of definitions. One that does not exist counts as empty, as git keeps no empty folders. */
export const BUILT_IN_FOLDERS = ['tools', 'prompts', 'resources']
  .map((name) => fileURLToPath(new URL(`../${name}/`, import.meta.url)))

/** Top-level code may connect to something first. */
const LOAD_TIMEOUT_MS = 30_000

/** Whether Node strips types by itself (22.18 and later). */
const RUNS_TYPESCRIPT = Boolean((process.features as { typescript?: unknown }).typescript)

/** The ending of this file: built-in files are compiled like it, or not at all. */
const BUILT_IN_ENDING = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

/** Loads Seed's own definitions. @throws ExtensionError */
export async function loadBuiltInDefinitions (options: Omit<LoadOptions, 'from'> = {}): Promise<LoadedDefinition[]> {
  const files = await Promise.all(BUILT_IN_FOLDERS.map(async (folder) => await filesOf(folder, [BUILT_IN_ENDING])))
  const modules = files.flat().map((file): ModuleLocation => ({ kind: 'file', file }))
  return await loadModules(modules, { ...options, runsTypeScript: true })
}

/**
 * Loads Seed's own definitions and those of extensions. Modules that import `seed-mcp-server` need linkExtensions
 * first.
 *
 * @param extensions entries of SEED_EXTENSIONS: folders, files and packages
 * @throws ExtensionError
 */
export async function loadAllDefinitions (
  extensions: readonly string[],
  options: LoadOptions
): Promise<LoadedDefinition[]> {
  const { timeoutMs: _limitOfExtensions, ...builtInOptions } = options
  const builtIn = await loadBuiltInDefinitions(builtInOptions)
  const modules = await Promise.all(extensions.map(async (entry) => await locateModules(entry, options.from)))
  const loaded = [...builtIn, ...await loadModules(modules.flat(), options)]
  checkUnique(loaded)
  return loaded
}

/** Adds the file to an error about a definition. Any other error is returned as it is. */
export function addFile (err: unknown, loaded: readonly LoadedDefinition[]): unknown {
  if (!(err instanceof DefinitionError)) return err
  const source = loaded.find(({ definition }) => definition === err.definition)
  return source === undefined ? err : cannotBeOffered(source.file, err)
}

/** Names the definitions whose files are in the stack of what was thrown. */
export function namesInStack (thrown: unknown, loaded: readonly LoadedDefinition[]): string[] {
  const stack = thrown instanceof Error ? String(thrown.stack) : ''
  return loaded
    // A reloaded file has a version in its URL.
    .filter(({ file }) => {
      const { href } = pathToFileURL(file)
      return [`${file}:`, `${href}:`, `${href}?`].some((name) => stack.includes(name))
    })
    .map(({ definition }) => describeDefinition(definition))
}

async function loadModules (
  modules: readonly ModuleLocation[],
  options: Omit<LoadOptions, 'from'>
): Promise<LoadedDefinition[]> {
  const loaded = await Promise.all(modules.map(async (module) => await loadModule(module, options)))
  options.mounts?.push(...loaded.flatMap(({ mounts }) => mounts))
  return loaded.flatMap(({ definitions }) => definitions)
}

async function loadModule (
  module: ModuleLocation,
  { version, timeoutMs = LOAD_TIMEOUT_MS, runsTypeScript = RUNS_TYPESCRIPT }: Omit<LoadOptions, 'from'>
): Promise<{ definitions: LoadedDefinition[], mounts: DeclaredMount[] }> {
  const { file } = module
  if (module.kind === 'file' && file.endsWith('.ts') && !runsTypeScript) {
    const node = `Node ${process.versions.node}`
    throw new ExtensionError(
      `${file} is TypeScript, which ${node} does not run: compile it to JavaScript, or use Node 22.18 or newer`)
  }
  const exported = await importExports(module, version, timeoutMs)
  const definitions = exported.filter(isDefinition)
  const mounts = exported.filter(isMountDefinition)
  if (definitions.length + mounts.length === 0) {
    throw new ExtensionError(`${file} exports nothing that defineTool, definePrompt, defineResource, ` +
      'defineResourceTemplate or defineMount made (a file that others import has a name that begins with _)')
  }
  try {
    definitions.forEach(checkDeclaration)
  } catch (err) {
    throw cannotBeOffered(file, err as Error)
  }
  for (const definition of definitions) recordFile(definition, file)
  const folder = module.kind === 'file' ? dirname(file) : module.from
  return {
    definitions: definitions.map((definition) => ({ definition, file })),
    mounts: mounts.map((mount) => ({ mount, file, folder }))
  }
}

/** Returns what a module exports, each thing once. */
async function importExports (
  module: ModuleLocation,
  version: number | undefined,
  timeoutMs: number
): Promise<unknown[]> {
  try {
    const imported = import(specifierOf(module, version)) as Promise<Record<string, unknown>>
    return [...new Set(Object.values(await withinTime(imported, timeoutMs)))]
  } catch (err) {
    throw new ExtensionError(`${module.file} cannot be loaded: ${describeImportError(err)}`, { cause: err })
  }
}

/** Waits for a module. An `await` at its top level may never end, and then Node would end without a word. */
async function withinTime<T> (imported: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const message = `it is not loaded after ${timeoutMs / 1_000} seconds: an await at its top level does not end`
    timer = setTimeout(() => { reject(new Error(message)) }, timeoutMs)
  })
  try {
    return await Promise.race([imported, late])
  } finally {
    clearTimeout(timer)
  }
}

function checkUnique (loaded: readonly LoadedDefinition[]): void {
  const files = new Map<string, string>()
  for (const { definition, file } of loaded) {
    const label = describeDefinition(definition)
    const other = files.get(label)
    if (other !== undefined) {
      throw new ExtensionError(`${label} is in ${other} and in ${file}: give one of them another name`)
    }
    files.set(label, file)
  }
}

function cannotBeOffered (file: string, err: Error): ExtensionError {
  return new ExtensionError(`${file} cannot be offered: ${err.message}`, { cause: err })
}
