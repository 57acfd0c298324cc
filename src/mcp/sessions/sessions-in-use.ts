import type { SessionRef } from './session.ts'

export type SessionsInUse = ReturnType<typeof createSessionsInUse>

/** The sessions that have an open stream or a running call in this process: they do not give way to new ones. */
export function createSessionsInUse () {
  const uses = new Map<string, number>()
  return {
    /** @returns a function that ends this use */
    hold ({ digest }: SessionRef): () => void {
      uses.set(digest, (uses.get(digest) ?? 0) + 1)
      return () => {
        const left = uses.get(digest)! - 1
        if (left === 0) uses.delete(digest)
        else uses.set(digest, left)
      }
    },

    has: (digest: string): boolean => uses.has(digest)
  }
}
