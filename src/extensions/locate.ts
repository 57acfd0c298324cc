import { readdir, realpath, stat } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ExtensionError } from './errors.ts'
import { packageSpecifier, versionedUrl } from './resolve.ts'

/** A module to import: a file, or a package that is resolved from a folder. */
export type ModuleLocation = { kind: 'file', file: string } | { kind: 'package', file: string, from: string }

/** Endings of extension files; `.ts` only where Node runs it. */
export const ENDINGS = ['.js', '.mjs', '.ts']

/** Subfolders of an extension folder that are loaded as well. */
const SUBFOLDERS = ['tools', 'prompts', 'resources']

const PACKAGE = /^(@[\w.~-]+\/)?[\w~-][\w.~-]*(\/[\w.~-]+)*$/

/**
 * Finds the modules of an entry of SEED_EXTENSIONS.
 *
 * @param from the folder that relative paths and packages are resolved from
 * @throws ExtensionError for what does not exist, cannot be read, or has no module
 */
export async function locateModules (entry: string, from: string): Promise<ModuleLocation[]> {
  if (!isPath(entry)) {
    if (PACKAGE.test(entry)) return [{ kind: 'package', file: entry, from }]
    const forms = 'neither the path of a folder or file (/path or ./path) nor the name of a package'
    throw new ExtensionError(`SEED_EXTENSIONS: ${entry} is ${forms}`)
  }
  const path = await realpath(resolve(from, entry)).catch((err: NodeJS.ErrnoException) => {
    const reason = err.code === 'ENOENT' ? 'does not exist' : `cannot be read (${err.code})`
    throw new ExtensionError(`SEED_EXTENSIONS: ${resolve(from, entry)} ${reason}`)
  })
  if ((await stat(path)).isDirectory()) return await locateInFolder(path)
  if (ENDINGS.some((ending) => path.endsWith(ending))) return [{ kind: 'file', file: path }]
  throw new ExtensionError(`SEED_EXTENSIONS: ${path} is no ${ENDINGS.join(', ')} file`)
}

async function locateInFolder (folder: string): Promise<ModuleLocation[]> {
  const files = (await Promise.all(foldersOf(folder).map(async (name) => await filesOf(name, ENDINGS)))).flat()
  if (files.length === 0) {
    const searched = `and neither do its folders ${SUBFOLDERS.join(', ')}`
    throw new ExtensionError(`SEED_EXTENSIONS: ${folder} holds no ${ENDINGS.join(', ')} file, ${searched}`)
  }
  return files.map((file) => ({ kind: 'file', file }))
}

/** Tells whether an entry of SEED_EXTENSIONS is a folder or file, rather than a package. */
export function isPath (entry: string): boolean {
  return isAbsolute(entry) || /^\.\.?(\/|$)/.test(entry)
}

/** Returns an extension folder and the subfolders that are loaded with it, whether they exist or not. */
export function foldersOf (folder: string): string[] {
  return [folder, ...SUBFOLDERS.map((name) => join(folder, name))]
}

/**
 * Lists the files of a folder that define something, sorted by name. Names that begin with `_` or `.` are left out:
 * others may import these.
 */
export async function filesOf (folder: string, endings: readonly string[]): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((err: NodeJS.ErrnoException) => {
    if (err.code === 'ENOENT') return []
    throw new ExtensionError(`${folder} cannot be read (${err.code})`)
  })
  return entries
    .filter((entry) => !entry.isDirectory() && isDefinitionFile(entry.name, endings))
    .map((entry) => join(folder, entry.name))
    .sort()
}

function isDefinitionFile (name: string, endings: readonly string[]): boolean {
  return /^[^._]/.test(name) && !name.endsWith('.d.ts') && endings.some((ending) => name.endsWith(ending))
}

/** Returns the specifier for `import()`. @param version of the files, where they are loaded more than once */
export function specifierOf (module: ModuleLocation, version: number | undefined): string {
  if (module.kind === 'package') return packageSpecifier(module.file, module.from)
  const url = pathToFileURL(module.file).href
  return version === undefined ? url : versionedUrl(url, version)
}
