import type { McpRequest } from '../exchange.ts'

type Principal = NonNullable<McpRequest['principal']>

/** A stream of `subscriptions/listen`. */
interface SubscriptionStream {
  end (): void
  onEnd (listener: () => void): void
}

interface OpenSubscription {
  stream: SubscriptionStream
  uris: readonly string[]
  /** When the token that opened it was issued, in seconds since the epoch. */
  issuedAt: number
  /** The token that the rights were last checked for. */
  checkedFor: Principal
}

export type OpenSubscriptions = ReturnType<typeof createOpenSubscriptions>

/**
 * The subscriptions of 2026-07-28 to resources with which this replica is connected. Rights are in the access token:
 * when its client sends a newer one that may no longer read a resource, the stream ends, and the client opens another.
 * Otherwise it ends with its token (src/http/stream-revocation.ts).
 */
export function createOpenSubscriptions (canRead: (uri: string, principal: Principal) => boolean) {
  const byPrincipal = new Map<string, Set<OpenSubscription>>()

  return {
    /** @param uris the resources that the caller subscribes to and may read */
    add (stream: SubscriptionStream, uris: readonly string[], principal: Principal | undefined): void {
      if (principal === undefined || uris.length === 0) return
      const { key } = principal
      const subscription = { stream, uris, issuedAt: issuedAtOf(principal), checkedFor: principal }
      const subscriptions = byPrincipal.get(key) ?? new Set()
      byPrincipal.set(key, subscriptions.add(subscription))
      stream.onEnd(() => {
        subscriptions.delete(subscription)
        if (subscriptions.size === 0) byPrincipal.delete(key)
      })
    },

    /** Ends the subscriptions of a caller to what the token of this request may no longer read. */
    check (principal: Principal | undefined): void {
      if (byPrincipal.size === 0 || principal === undefined) return
      for (const subscription of byPrincipal.get(principal.key) ?? []) {
        const { stream, uris, issuedAt, checkedFor } = subscription
        if (checkedFor === principal || issuedAtOf(principal) < issuedAt) continue
        subscription.checkedFor = principal
        if (!uris.every((uri) => canRead(uri, principal))) stream.end()
      }
    }
  }
}

function issuedAtOf ({ claims }: Principal): number {
  return claims['iat'] as number
}
