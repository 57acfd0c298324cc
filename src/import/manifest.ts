import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, posix } from 'node:path'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { AnyName } from '../json/member-names.ts'
import { parseJson } from '../json/parse-json.ts'
import { ImportError } from './description.ts'

/** Record of the last run: by it the next run tells files that a person has changed, and gives the same names. */
const manifestSchema = Type.Object({
  note: Type.String(),
  /** Names of tools, by method and path. */
  tools: Type.Record(AnyName, Type.String({ pattern: '^[a-z][a-z0-9_]{0,63}$' })),
  /** SHA-256 of each file as it was written, by its path. */
  files: Type.Record(AnyName, Type.String())
})
export type Manifest = Static<typeof manifestSchema>

const NOTE = 'seed import openapi keeps files that differ from these digests. Remove a line to get its file anew.'
const manifestValidator = Compile(manifestSchema)

/** Outcome for a file. */
export interface FileOutcome {
  path: string
  outcome: 'written' | 'updated' | 'unchanged' | 'kept' | 'deleted'
  /** The new version, beside a file that was kept. */
  newVersion?: string
}

/** @throws ImportError if the file is not a manifest */
export async function readManifest (path: string): Promise<Manifest> {
  const text = await readIfExists(path)
  if (text === undefined) return { note: NOTE, tools: {}, files: {} }
  const manifest = parseJson(manifestValidator, text)
  if (manifest === undefined) throw new ImportError(`${path} is not what seed import wrote: restore it, or remove it`)
  return manifest
}

/**
 * Returns the files that other imports into the same folder have written, if they are still there, each with the
 * manifest of its import.
 *
 * @throws ImportError if the manifest of another import is none
 */
export async function readFilesOfOthers (path: string): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const folder = posix.dirname(path)
  for (const name of await listIfExists(folder)) {
    const other = posix.join(folder, name)
    if (!/^_.+-import\.json$/.test(name) || other === path) continue
    for (const file of Object.keys((await readManifest(other)).files)) {
      if (await isPresent(file)) found.set(file, other)
    }
  }
  return found
}

/**
 * Writes files, but none that a person has changed or deleted. The new version of a changed one is written beside it,
 * under a name that neither the compiler nor Seed reads.
 *
 * @param files sources by path
 */
export async function writeFiles (
  files: ReadonlyMap<string, string>, manifest: Manifest
): Promise<{ outcomes: FileOutcome[], digests: Record<string, string> }> {
  const outcomes: FileOutcome[] = []
  const digests = { ...manifest.files }
  for (const [path, source] of files) {
    outcomes.push(await writeUnlessChanged(path, source, manifest.files[path]))
    digests[path] = digestOf(source)
  }
  return { outcomes, digests }
}

export async function writeManifest (
  path: string, tools: Record<string, string>, files: Record<string, string>
): Promise<void> {
  await write(path, `${JSON.stringify({ note: NOTE, tools: sort(tools), files: sort(files) }, null, 2)}\n`)
}

async function writeUnlessChanged (path: string, source: string, lastDigest: string | undefined): Promise<FileOutcome> {
  const present = await readIfExists(path)
  const newVersion = `${path}.new`
  if (present === undefined) {
    if (lastDigest !== undefined) return { path, outcome: 'deleted' }
    await write(path, source)
    return { path, outcome: 'written' }
  }
  if (present === source) return { path, outcome: 'unchanged' }
  if (digestOf(present) === lastDigest) {
    await write(path, source)
    return { path, outcome: 'updated' }
  }
  // Without a new version there is nothing to compare.
  if (digestOf(source) === lastDigest) return { path, outcome: 'kept' }
  await write(newVersion, source)
  return { path, outcome: 'kept', newVersion }
}

async function write (path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
  if (!path.endsWith('.new')) await rm(`${path}.new`, { force: true })
}

async function readIfExists (path: string): Promise<string | undefined> {
  return await unlessMissing(readFile(path, 'utf8'))
}

async function listIfExists (folder: string): Promise<string[]> {
  return await unlessMissing(readdir(folder)) ?? []
}

async function unlessMissing<T> (reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw err
  }
}

export async function isPresent (path: string): Promise<boolean> {
  return await readIfExists(path) !== undefined
}

function digestOf (text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function sort (record: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1))
}
