import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Seed's version, from the nearest package.json above this file: the same in the source tree and in dist/. */
export const VERSION: string = readVersion(dirname(fileURLToPath(import.meta.url)))

function readVersion (folder: string): string {
  const path = join(folder, 'package.json')
  if (!existsSync(path)) return readVersion(dirname(folder))
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}
