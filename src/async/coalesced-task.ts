export type CoalescedTask = ReturnType<typeof createCoalescedTask>

/**
 * A task that never runs twice at the same time. Requested while it runs, it runs once more afterwards, however often
 * it was requested. A run that fails does not lose what was requested meanwhile.
 *
 * @param work may request the task again itself
 */
export function createCoalescedTask (work: () => Promise<void>, onError: (err: unknown) => void) {
  let isRequested = false
  let isRunning = false
  let settled: Promise<void> | undefined

  async function runWhileRequested (): Promise<void> {
    while (isRequested) {
      isRequested = false
      try {
        await work()
      } catch (err) {
        onError(err)
      }
    }
    isRunning = false
  }

  return {
    get isRunning (): boolean { return isRunning },

    request (): void {
      isRequested = true
      if (isRunning) return
      isRunning = true
      settled = runWhileRequested()
    },

    /** Resolves when no run is in progress or requested. */
    async idle (): Promise<void> { await settled }
  }
}
