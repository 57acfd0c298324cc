import { readdir, realpath, stat } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ExtensionError } from './errors.ts'
import { packageSpecifier, versioned } from './resolve.ts'

/** Something to import. */
export type Place = { kind: 'file', file: string } | { kind: 'package', file: string, from: string }

/** What an extension is written in; `.ts` where Node runs it. */
export const ENDINGS = ['.js', '.mjs', '.ts']

/** Of a folder with extensions, besides the folder itself. */
const SUBFOLDERS = ['tools', 'prompts', 'resources']

const PACKAGE = /^(@[\w.~-]+\/)?[\w~-][\w.~-]*(\/[\w.~-]+)*$/

/** What an entry of SEED_EXTENSIONS stands for. @throws ExtensionError for what does not exist, or holds nothing */
export async function locate (entry: string, from: string): Promise<Place[]> {
  if (!isPath(entry)) {
    if (!PACKAGE.test(entry)) throw new ExtensionError(`SEED_EXTENSIONS: ${entry} is neither the path of a folder or file (/path or ./path) nor the name of a package`)
    return [{ kind: 'package', file: entry, from }]
  }
  const path = await realpath(resolve(from, entry)).catch((err: NodeJS.ErrnoException) => {
    throw new ExtensionError(`SEED_EXTENSIONS: ${resolve(from, entry)} ${err.code === 'ENOENT' ? 'does not exist' : `cannot be read (${err.code})`}`)
  })
  if (!(await stat(path)).isDirectory()) {
    if (!ENDINGS.some((ending) => path.endsWith(ending))) throw new ExtensionError(`SEED_EXTENSIONS: ${path} is no ${ENDINGS.join(', ')} file`)
    return [{ kind: 'file', file: path }]
  }
  const files = (await Promise.all(foldersOf(path).map(async (folder) => await filesOf(folder, ENDINGS)))).flat()
  if (files.length === 0) throw new ExtensionError(`SEED_EXTENSIONS: ${path} holds no ${ENDINGS.join(', ')} file, and neither do its folders ${SUBFOLDERS.join(', ')}`)
  return files.map((file) => ({ kind: 'file', file }))
}

/** Whether an entry of SEED_EXTENSIONS is a folder or file, and not a package. */
export function isPath (entry: string): boolean {
  return isAbsolute(entry) || /^\.\.?(\/|$)/.test(entry)
}

/** Where the files of a folder with extensions are. */
export function foldersOf (folder: string): string[] {
  return [folder, ...SUBFOLDERS.map((name) => join(folder, name))]
}

/** Every file of a folder that offers something, in the order of their names; those whose names begin with `_` or `.` are there for others to import. */
export async function filesOf (folder: string, endings: readonly string[]): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((err: NodeJS.ErrnoException) => {
    if (err.code === 'ENOENT') return []
    throw new ExtensionError(`${folder} cannot be read (${err.code})`)
  })
  return entries
    .filter((entry) => !entry.isDirectory() && /^[^._]/.test(entry.name) && !entry.name.endsWith('.d.ts') && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => join(folder, entry.name))
    .sort()
}

/** What to import. @param version of the files, where they are loaded more than once */
export function specifierOf (place: Place, version: number | undefined): string {
  if (place.kind === 'package') return packageSpecifier(place.file, place.from)
  const url = pathToFileURL(place.file).href
  return version === undefined ? url : versioned(url, version)
}
