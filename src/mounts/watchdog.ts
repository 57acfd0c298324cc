import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { killGroup } from './process-group.ts'

/**
 * The process that ends the processes of mounted servers when Seed is gone, however it ended: its standard input is a
 * pipe from Seed, which the kernel closes then. Lines of it name process groups: `+12` for one that was started, `-12`
 * for one that has ended.
 */
const KILL_AFTER_MS = 1_000
const groups = new Set<number>()

// A supervisor may signal all processes of the service: this one is needed until Seed is gone.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

for await (const line of createInterface({ input: process.stdin })) {
  const pid = Number(line.slice(1))
  if (line.startsWith('+')) groups.add(pid)
  else groups.delete(pid)
}
if (groups.size > 0) {
  for (const pid of groups) killGroup(pid, 'SIGTERM')
  await delay(KILL_AFTER_MS)
  for (const pid of groups) killGroup(pid, 'SIGKILL')
}
