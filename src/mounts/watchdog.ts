import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { measureGroups } from './group-memory.ts'
import { killGroup } from './process-group.ts'

/**
 * The process that watches the processes of mounted servers. It ends those that use too much memory, also while Seed is
 * busy, and all of them when Seed is gone, however it ended: its standard input is a pipe from Seed, which the kernel
 * closes then. Lines of it name process groups: `+12 1073741824` for one that was started, with its limit in bytes,
 * `-12` for one that has ended. A line of its output, `12 1073745920`, says that a group is ended for its memory.
 */
const KILL_AFTER_MS = 1_000
const MIN_PAUSE_MS = 100
const MAX_PAUSE_MS = 1_000
/** What a process is taken to allocate at most, in bytes per millisecond: 1 GiB a second. */
const ALLOCATION_RATE = 1_024 ** 3 / 1_000
/** The limits of the groups, in bytes. */
const groups = new Map<number, number>()
let timer: NodeJS.Timeout | undefined

/** Ends the groups that use too much memory, and looks again before another one can reach its limit. */
function checkMemory (): void {
  clearTimeout(timer)
  let pause = MAX_PAUSE_MS
  for (const [pid, bytes] of measureGroups(groups)) {
    const left = groups.get(pid)! - bytes
    if (left >= 0) pause = Math.min(pause, left / ALLOCATION_RATE)
    else endForMemory(pid, bytes)
  }
  timer = setTimeout(checkMemory, Math.max(MIN_PAUSE_MS, pause)).unref()
}

/** SIGTERM would leave the time to allocate more. Seed reads why before it is told that the process has ended. */
function endForMemory (pid: number, bytes: number): void {
  groups.delete(pid)
  process.stdout.write(`${pid} ${bytes}\n`)
  killGroup(pid, 'SIGKILL')
}

// A supervisor may signal all processes of the service: this one is needed until Seed is gone.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
// EPIPE: Seed is gone.
process.stdout.on('error', () => {})

for await (const line of createInterface({ input: process.stdin })) {
  const [pid, maxMemoryBytes] = line.slice(1).split(' ').map(Number)
  if (line.startsWith('+')) {
    groups.set(pid!, maxMemoryBytes!)
    checkMemory()
  } else {
    groups.delete(pid!)
  }
}
if (groups.size > 0) {
  for (const pid of groups.keys()) killGroup(pid, 'SIGTERM')
  await delay(KILL_AFTER_MS)
  for (const pid of groups.keys()) killGroup(pid, 'SIGKILL')
}
