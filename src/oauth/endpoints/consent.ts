import { OtherBrowserError, SignInExpiredError } from '../../errors/sign-in-errors.ts'
import { isLoopbackHost } from '../../net/addresses.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import { describeScope } from '../protocol/scope.ts'
import { digest, randomId, timingSafeEquals } from '../../crypto/hash.ts'
import type { AuthorizationRequest } from '../modes/sign-in.ts'

/**
 * A person's consent, asked before the provider is: each time, for every client (MCP security best practices, "Confused
 * Deputy Problem"). The question waits in the store under an id that only the page knows, and can be answered once,
 * within a quarter of an hour, by the browser that was asked.
 */
export interface Consent {
  /** @param browser the value of the browser's cookie @returns the id for the page's form */
  ask (request: AuthorizationRequest, browser: string): Promise<string>
  /**
   * The request that the person has now answered; nobody can answer it again.
   * @param browser the values of the browser's cookies: more than one where its first pages were opened at once
   * @throws SignInOverError, OtherBrowserError, StoreUnavailableError
   */
  answer (id: string, browser: readonly string[]): Promise<AuthorizationRequest>
}

interface ConsentRecord {
  request: AuthorizationRequest
  browserHash: string
}

const CONSENT_TTL_SECONDS = 900

export function createConsent (store: Store): Consent {
  return {
    async ask (request, browser) {
      const id = randomId(32)
      await store.set(keys.consent(digest(id)), JSON.stringify({ request, browserHash: digest(browser) } satisfies ConsentRecord), CONSENT_TTL_SECONDS)
      return id
    },

    async answer (id, browser) {
      const key = keys.consent(digest(id))
      const waiting = await store.get(key)
      if (waiting === undefined) throw over()
      const { request, browserHash } = JSON.parse(waiting) as ConsentRecord
      if (!browser.some((value) => timingSafeEquals(digest(value), browserHash))) {
        throw new OtherBrowserError('This question was asked in another browser, or this browser keeps no cookies', 'the cookie of the consent page is missing or another one')
      }
      if (await store.take(key) === undefined) throw over()
      return request
    }
  }
}

/** What the page tells of a request. The URL parser has put international hosts into their plain form (punycode). */
export function describeRequest ({ client, redirectUri, scopes }: AuthorizationRequest) {
  const { protocol, host, hostname } = new URL(redirectUri)
  const web = protocol === 'https:' || protocol === 'http:'
  return {
    clientName: client.name,
    clientKind: client.kind,
    documentHost: client.kind === 'document' ? new URL(client.id).host : undefined,
    destination: web ? host : protocol,
    destinationKind: !web ? 'app' as const : isLoopbackHost(hostname) ? 'loopback' as const : 'web' as const,
    scopes: scopes.map((name) => ({ name, description: describeScope(name) }))
  }
}

function over (): SignInExpiredError {
  return new SignInExpiredError('This page has expired, or was answered before', 'unknown consent id')
}
