import { readFileSync, readdirSync, rmSync, rmdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Removes the declarations that no public one refers to: the package shows its users the types of its API only, and
 * these need no more packages than `dependencies` in package.json has.
 *
 *   node dev/prune-types.js <folder>
 */
const PUBLIC = ['src/index.d.ts', 'src/testing/index.d.ts', 'src/cli.d.ts']

/** @param {string} out the folder that holds the declarations of the whole program */
export function pruneTypes (out) {
  const kept = new Set()
  for (const file of PUBLIC) keep(resolve(out, file), kept)
  for (const file of readdirSync(out, { recursive: true })) {
    const path = resolve(out, file)
    if (path.endsWith('.d.ts') && !kept.has(path)) rmSync(path)
  }
  removeEmptyFolders(out)
}

function keep (file, kept) {
  if (kept.has(file)) return
  kept.add(file)
  for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/(?:from|import\() ?['"](\.[^'"]+)['"]/g)) {
    keep(resolve(dirname(file), specifier.replace(/\.[jt]s$/, '.d.ts')), kept)
  }
}

function removeEmptyFolders (folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyFolders(join(folder, entry.name))
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) pruneTypes(process.argv[2])
