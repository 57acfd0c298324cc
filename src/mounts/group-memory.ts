import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

/** Limit of one run of ps. */
const PS_MS = 1_000

/** The memory of process groups, in bytes, by the number of the group. */
export type GroupMemory = Map<number, number>

type Groups = Pick<ReadonlySet<number>, 'has'>

/**
 * Measures the memory of process groups: of all processes of a group together. On Linux that is resident memory without
 * mapped files, which the kernel can read again, and what it has swapped out (proc(5)); elsewhere all resident memory.
 *
 * @param groups the groups to measure
 * @param source for tests: another system, and where its processes are read
 * @returns the memory of those that were found
 */
export function measureGroups (
  groups: Groups, { platform = process.platform, proc = '/proc', ps = '/bin/ps' } = {}
): GroupMemory {
  const memory: GroupMemory = new Map()
  for (const [group, bytes] of platform === 'linux' ? readProc(proc, groups) : readPs(ps)) {
    if (groups.has(group)) memory.set(group, (memory.get(group) ?? 0) + bytes)
  }
  return memory
}

type ProcessMemory = [group: number, bytes: number]

function * readProc (proc: string, groups: Groups): Iterable<ProcessMemory> {
  for (const name of orElse([], () => readdirSync(proc))) {
    if (!/^\d+$/.test(name)) continue
    const group = groupOf(readText(`${proc}/${name}/stat`))
    if (groups.has(group)) yield [group, memoryOf(readText(`${proc}/${name}/status`))]
  }
}

/** Returns the text of a file; '' if its process has ended. */
function readText (path: string): string {
  return orElse('', () => readFileSync(path, 'utf8'))
}

function orElse<T> (fallback: T, read: () => T): T {
  try {
    return read()
  } catch {
    return fallback
  }
}

/** Reads /proc/PID/stat: the name of the command, in parentheses, may have spaces and parentheses. */
function groupOf (stat: string): number {
  const [, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(group)
}

/** Reads /proc/PID/status. Zombies have none of the lines. */
function memoryOf (status: string): number {
  const kilobytes = (line: string): number => Number(new RegExp(`^${line}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)
  return (kilobytes('VmRSS') - kilobytes('RssFile') + kilobytes('VmSwap')) * 1_024
}

/** Asks ps(1), for systems without /proc, such as macOS. */
function readPs (ps: string): ProcessMemory[] {
  const args = ['-A', '-o', 'pgid=', '-o', 'rss=']
  const text = orElse('', () => execFileSync(ps, args, { encoding: 'utf8', timeout: PS_MS, stdio: 'pipe' }))
  return text.trim().split('\n').map((line) => {
    const [group, kilobytes] = line.trim().split(/\s+/).map(Number)
    return [group!, kilobytes! * 1_024]
  })
}
