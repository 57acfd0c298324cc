/** Far more than a loaded machine needs: only a condition that never comes true runs into it. */
const LIMIT_MS = 60_000

/** Waits for a condition that no event announces. */
export async function until (condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
