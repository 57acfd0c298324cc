/** Starts a stopwatch. @returns a function that returns the whole seconds since the start, for a line of the report */
export function startStopwatch (): () => number {
  const startedAt = performance.now()
  return () => Math.round((performance.now() - startedAt) / 1_000)
}
