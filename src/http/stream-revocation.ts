import type { Principal } from '../tokens/principal.ts'
import type { Verifier } from '../tokens/verifier.ts'
import type { Revocations } from '../tokens/revocations.ts'

/**
 * Ends open streams when the access token that opened them expires, and at once when it is revoked, on whatever replica
 * that was done.
 */
export interface StreamGuard {
  /** Watches a stream until it is over. */
  watch (stream: GuardedStream, principal: Principal | undefined): void
}

export interface GuardedStream {
  /** In good order. */
  end (): void
  /** At once. */
  destroy (): void
  onEnd (listener: () => void): void
}

interface Watch {
  names: readonly string[]
  issuedAt: number
  /** Milliseconds since the epoch. */
  endsAt: number
}

/** How often the clock is looked at: one timer for all of them. */
const LOOK_MS = 500

/** @param clockSkewSeconds how long after its `exp` a token is still accepted */
export function createStreamGuard ({ revocations, verifier, clockSkewSeconds, lookMs = LOOK_MS }: {
  revocations: Revocations
  verifier: Pick<Verifier, 'revocationKeys'>
  clockSkewSeconds: number
  lookMs?: number
}): StreamGuard {
  const open = new Map<GuardedStream, Watch>()
  let clock: NodeJS.Timeout | undefined

  function endExpired (): void {
    const now = Date.now()
    for (const [stream, { endsAt }] of open) {
      if (endsAt <= now) stream.end()
    }
  }

  function forget (stream: GuardedStream): void {
    open.delete(stream)
    if (open.size > 0) return
    clearInterval(clock)
    clock = undefined
  }

  /** After a loss of the store's messages nobody knows what was missed: each stream is looked up. */
  async function lookUpAll (): Promise<void> {
    await Promise.all([...open].map(async ([stream, { names, issuedAt }]) => {
      if (await revocations.isRevoked([...names], issuedAt)) stream.destroy()
    }))
  }

  revocations.onRevoked((revocation) => {
    if (revocation === undefined) return lookUpAll()
    for (const [stream, { names, issuedAt }] of open) {
      if (issuedAt <= revocation.issuedUntil && names.some((name) => revocation.revocationKeys.includes(name))) stream.destroy()
    }
  })

  return {
    watch (stream, principal) {
      if (principal === undefined) return
      open.set(stream, {
        names: verifier.revocationKeys(principal),
        issuedAt: principal.claims['iat'] as number,
        endsAt: (principal.expiresAt + clockSkewSeconds) * 1_000
      })
      clock ??= setInterval(endExpired, lookMs).unref()
      stream.onEnd(() => { forget(stream) })
    }
  }
}
