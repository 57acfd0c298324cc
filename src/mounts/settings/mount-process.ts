import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { MountEntry } from './mount-schema.ts'

/** The process of a mounted server. */
export interface MountProcess {
  command: string
  args: readonly string[]
  cwd: string
  /** All variables that it gets. */
  env: Readonly<Record<string, string>>
  /** Limit of the memory of one process with its children. */
  maxMemoryBytes: number
}

const MAX_DEFAULT_MEMORY_BYTES = 1_024 ** 3

/** Returns the process of a mount, if it has one, and what is wrong with its files. */
export function toProcess (
  {
    command, args = [], env = {}, envFiles = {}, cwd = '.', maxMemoryBytes = defaultMaxMemoryBytes()
  }: MountEntry,
  folder: string,
  inheritedVariables: Readonly<Record<string, string>>
): { process: MountProcess | undefined, problems: string[] } {
  if (command === undefined) return { process: undefined, problems: [] }
  const problems: string[] = []
  const variables: Record<string, string> = { ...inheritedVariables, ...env }
  for (const [name, file] of Object.entries(envFiles)) {
    const path = resolve(folder, file)
    try {
      variables[name] = readFileSync(path, 'utf8').replace(/\r?\n$/, '')
    } catch (err) {
      problems.push(`envFiles.${name} ${path} cannot be read (${(err as NodeJS.ErrnoException).code})`)
    }
  }
  return { process: { command, args, cwd: resolve(folder, cwd), env: variables, maxMemoryBytes }, problems }
}

/** Half of what the container may use, where it has a limit: one process does not end the container. */
function defaultMaxMemoryBytes (): number {
  // Without a limit: 0, undefined, or more than any machine has, by the version of Node.js.
  const limit = process.constrainedMemory() || Infinity
  return Math.min(MAX_DEFAULT_MEMORY_BYTES, Math.floor(limit / 2))
}
