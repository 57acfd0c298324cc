import type { FastifyReply } from 'fastify'
import type { Principal } from '../oidc/principal.ts'
import type { Verifier } from '../oidc/verifier.ts'
import type { Revocations } from '../oauth/revocations.ts'

/**
 * Ends open streams when the access token that opened them expires, and at once when it is revoked, on whatever replica
 * that was done.
 */
export interface StreamGuard {
  /**
   * Watches a stream until it ends.
   * @param expire ends it in good order
   */
  watch (reply: FastifyReply, principal: Principal | undefined, expire: () => void): void
}

/** What setTimeout can count. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** @param clockSkewSeconds how long after its `exp` a token is still accepted */
export function createStreamGuard ({ revocations, verifier, clockSkewSeconds }: {
  revocations: Revocations
  verifier: Pick<Verifier, 'revocationNames'>
  clockSkewSeconds: number
}): StreamGuard {
  const open = new Map<FastifyReply, { names: readonly string[], issuedAt: number }>()

  function end (reply: FastifyReply): void {
    reply.raw.destroy()
  }

  /** After a loss of the store's messages nobody knows what was missed: each stream is looked up. */
  async function lookUpAll (): Promise<void> {
    await Promise.all([...open].map(async ([reply, { names, issuedAt }]) => {
      if (await revocations.isRevoked([...names], issuedAt)) end(reply)
    }))
  }

  revocations.onRevoked((revocation) => {
    if (revocation === undefined) return lookUpAll()
    for (const [reply, { names, issuedAt }] of open) {
      if (issuedAt <= revocation.issuedUntil && names.some((name) => revocation.names.includes(name))) end(reply)
    }
  })

  return {
    watch (reply, principal, expire) {
      if (principal === undefined) return
      const leftMs = (principal.expiresAt + clockSkewSeconds) * 1_000 - Date.now()
      const expiry = setTimeout(expire, Math.min(leftMs, MAX_TIMER_MS)).unref()
      open.set(reply, { names: verifier.revocationNames(principal), issuedAt: principal.claims['iat'] as number })
      reply.raw.once('close', () => {
        clearTimeout(expiry)
        open.delete(reply)
      })
    }
  }
}
