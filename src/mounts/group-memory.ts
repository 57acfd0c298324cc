import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

/** Limit of one run of ps. */
const PS_MS = 1_000

/** The memory of process groups, in bytes, by the number of the group. */
export type GroupMemory = Map<number, number>

type Groups = Pick<ReadonlySet<number>, 'has'>

/**
 * Measures the memory of process groups: of all processes of a group together. On Linux that is resident memory without
 * mapped files, which the kernel can read again, and what it has swapped out; elsewhere all resident memory. The sum
 * counts a page that processes share after fork(2) for each of them. Where that is above the limit of a group, Linux is
 * asked for the proportional share of each process, which takes longer (proc(5), smaps_rollup).
 *
 * @param limits of the groups to measure, in bytes
 * @param source for tests: another system, and where its processes are read
 * @returns the memory of those that were found
 */
export function measureGroups (
  limits: ReadonlyMap<number, number>, { platform = process.platform, proc = '/proc', ps = '/bin/ps' } = {}
): GroupMemory {
  if (platform !== 'linux') return sumOf(readPs(ps), limits)
  const memory = sumOf(readProc(proc, limits, memoryOf), limits)
  const large = new Set([...memory.keys()].filter((group) => memory.get(group)! > limits.get(group)!))
  return large.size === 0 ? memory : new Map([...memory, ...sumOf(readProc(proc, large, shareOf), large)])
}

type ProcessMemory = [group: number, bytes: number]

function sumOf (processes: Iterable<ProcessMemory>, groups: Groups): GroupMemory {
  const memory: GroupMemory = new Map()
  for (const [group, bytes] of processes) {
    if (groups.has(group)) memory.set(group, (memory.get(group) ?? 0) + bytes)
  }
  return memory
}

/** @param measure gets the folder of a process */
function * readProc (proc: string, groups: Groups, measure: (folder: string) => number): Iterable<ProcessMemory> {
  for (const name of orElse([], () => readdirSync(proc))) {
    if (!/^\d+$/.test(name)) continue
    const group = groupOf(readText(`${proc}/${name}/stat`))
    if (groups.has(group)) yield [group, measure(`${proc}/${name}`)]
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
function memoryOf (folder: string): number {
  const status = readText(`${folder}/status`)
  return bytesOf(status, 'VmRSS') - bytesOf(status, 'RssFile') + bytesOf(status, 'VmSwap')
}

/**
 * Reads /proc/PID/smaps_rollup, where a page that n processes share counts as 1/n. A process may hide the file
 * (PR_SET_DUMPABLE), and before Linux 5.4 it does not tell mapped files apart: status is the upper limit.
 */
function shareOf (folder: string): number {
  const rollup = readText(`${folder}/smaps_rollup`)
  const whole = memoryOf(folder)
  if (rollup === '') return whole
  const resident = /^Pss_Anon:/m.test(rollup)
    ? bytesOf(rollup, 'Pss_Anon') + bytesOf(rollup, 'Pss_Shmem')
    : bytesOf(rollup, 'Pss')
  return Math.min(whole, resident + bytesOf(rollup, 'SwapPss'))
}

/** Returns the number of a line such as `VmRSS:   3000 kB`, in bytes; 0 if there is none. */
function bytesOf (text: string, line: string): number {
  return Number(new RegExp(`^${line}:\\s*(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * 1_024
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
