import type { Principal } from '../tokens/principal.ts'
import type { Revocations } from '../tokens/revocations.ts'
import type { Verifier } from '../tokens/access-token-verifier.ts'

export interface RevocableStream {
  /** Ends the stream in good order. */
  end (): void
  /** Cuts the stream at once. */
  destroy (): void
  onEnd (listener: () => void): void
}

interface WatchedToken {
  keys: readonly string[]
  issuedAt: number
  /** Milliseconds since the epoch. */
  expiresAt: number
}

/** Interval of the expiry check, one timer for all streams. */
const CHECK_MS = 500

export type StreamRevocation = ReturnType<typeof createStreamRevocation>

/**
 * Ends open streams when the access token that opened them expires, and at once when it is revoked on any replica.
 *
 * @param clockSkewSeconds how long after its `exp` a token is still accepted
 */
export function createStreamRevocation ({ revocations, verifier, clockSkewSeconds, checkMs = CHECK_MS }: {
  revocations: Revocations
  verifier: Pick<Verifier, 'revocationKeys'>
  clockSkewSeconds: number
  checkMs?: number
}) {
  const open = new Map<RevocableStream, WatchedToken>()
  let timer: NodeJS.Timeout | undefined

  function endExpired (): void {
    const now = Date.now()
    for (const [stream, { expiresAt }] of open) {
      if (expiresAt <= now) stream.end()
    }
  }

  function unwatch (stream: RevocableStream): void {
    open.delete(stream)
    if (open.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  /** Looks each stream up: after a gap in the store's messages, revocations may have been missed. */
  async function checkAll (): Promise<void> {
    await Promise.all([...open].map(async ([stream, { keys, issuedAt }]) => {
      if (await revocations.isRevoked([...keys], issuedAt)) stream.destroy()
    }))
  }

  revocations.onRevoked((revocation) => {
    if (revocation === undefined) return checkAll()
    for (const [stream, { keys, issuedAt }] of open) {
      const isRevoked = keys.some((key) => revocation.revocationKeys.includes(key))
      if (isRevoked && issuedAt <= revocation.issuedUntil) stream.destroy()
    }
  })

  return {
    /** Watches a stream until it ends. @param principal undefined where nobody is signed in */
    watch (stream: RevocableStream, principal: Principal | undefined): void {
      if (principal === undefined) return
      open.set(stream, {
        keys: verifier.revocationKeys(principal),
        issuedAt: principal.claims['iat'] as number,
        expiresAt: (principal.expiresAt + clockSkewSeconds) * 1_000
      })
      timer ??= setInterval(endExpired, checkMs).unref()
      stream.onEnd(() => { unwatch(stream) })
    }
  }
}
