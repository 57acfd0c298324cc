import type { FastifyReply } from 'fastify'
import type { Principal } from '../oidc/principal.ts'
import type { Verifier } from '../oidc/verifier.ts'
import type { Revocations } from '../oauth/revocations.ts'

/**
 * Ends the open streams of callers whose access token is revoked, on whatever replica that was done. What has not
 * begun to answer yet may finish: the next request is refused anyway.
 */
export interface StreamGuard {
  /** Watches an answer until it ends. */
  watch (reply: FastifyReply, principal: Principal | undefined): void
}

export function createStreamGuard ({ revocations, verifier }: { revocations: Revocations, verifier: Pick<Verifier, 'revocationNames'> }): StreamGuard {
  const open = new Map<FastifyReply, { names: readonly string[], issuedAt: number }>()

  function end (reply: FastifyReply): void {
    if (reply.raw.headersSent) reply.raw.destroy()
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
    watch (reply, principal) {
      if (principal === undefined) return
      open.set(reply, { names: verifier.revocationNames(principal), issuedAt: principal.claims['iat'] as number })
      reply.raw.once('close', () => { open.delete(reply) })
    }
  }
}
