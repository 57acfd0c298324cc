import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describeDefinition, isDefinition } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'

/** What a file that was loaded offers. */
export interface LoadedFile {
  /** Absolute path. */
  file: string
  definitions: readonly Definition[]
}

/** A file could not be used: the message names it, and why. */
export class ExtensionError extends Error {
  override readonly name = 'ExtensionError'
}

/** Those of this repository. */
export const OWN_FOLDERS = ['tools', 'prompts', 'resources'].map((name) => fileURLToPath(new URL(`../${name}/`, import.meta.url)))

/** Compiled as this file is, or not. */
const OWN_ENDING = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

/** @throws ExtensionError */
export async function loadOwn (): Promise<LoadedFile[]> {
  return (await Promise.all(OWN_FOLDERS.map(async (folder) => await loadFolder(folder, [OWN_ENDING])))).flat()
}

/** Every file of a folder, in the order of their names; those whose names begin with `_` or `.` are there for others to import. */
async function loadFolder (folder: string, endings: readonly string[]): Promise<LoadedFile[]> {
  const names = (await readdir(folder)).filter((name) => /^[^._]/.test(name) && !name.endsWith('.d.ts') && endings.some((ending) => name.endsWith(ending))).sort()
  return await Promise.all(names.map(async (name) => await loadFile(join(folder, name))))
}

async function loadFile (file: string): Promise<LoadedFile> {
  const exported = await import(pathToFileURL(file).href).catch((err: Error) => {
    throw new ExtensionError(`${file} cannot be loaded: ${err.message}`, { cause: err })
  }) as Record<string, unknown>
  const definitions = [...new Set(Object.values(exported))].filter(isDefinition)
  if (definitions.length === 0) throw new ExtensionError(`${file} exports nothing that defineTool, definePrompt, defineResource or defineResourceTemplate made (a file that others import has a name that begins with _)`)
  return { file, definitions }
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
