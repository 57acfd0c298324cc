import { writeFileSync } from 'node:fs'

/** The highest score: the kernel ends such a process before all others (proc_pid_oom_score_adj(5)). */
const MAX_OOM_SCORE_ADJ = '1000'

/**
 * Lets the kernel end a process and its future children before Seed when the machine, or the container, is out of
 * memory. Other systems than Linux have no such choice.
 */
export function endFirstOutOfMemory (pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, MAX_OOM_SCORE_ADJ)
  } catch {
    // ENOENT: it has ended, or this is not Linux. EACCES: it runs as somebody else.
  }
}
