/** Sends a signal to a process and its children; to none if they are gone. */
export function killGroup (pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: the group has ended.
  }
}
