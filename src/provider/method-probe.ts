import { randomBytes } from 'node:crypto'
import type { ClientAuthentication } from './client-authentication.ts'
import type { ProviderMetadata } from './discovery.ts'
import type { TokenRevocation } from './token-revocation.ts'

/** A sign-in may have to wait for it. */
const TIMEOUT_MS = 3_000

export interface MethodProbeOptions {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  /** The state of the token endpoint. */
  authentication: Pick<ClientAuthentication, 'isUndecided'>
  revocation: Pick<TokenRevocation, 'send'>
  refresh: (refreshToken: string, timeoutMs: number) => Promise<{ status: number }>
}

/**
 * Lets the provider show how Seed is to authenticate, before an authorization code is at stake: some providers use up
 * the code of a request whose client they refuse, so that a second attempt with it fails.
 *
 * The provider is asked once to revoke a token that nobody has issued, which is a success for a client that it accepts
 * (RFC 7009 section 2.2); without a revocation endpoint, to refresh one. What is to be learned, the requests learn
 * themselves (`createClientAuthentication`). A probe that fails is made again at the next sign-in.
 */
export function createMethodProbe ({ provider, authentication, revocation, refresh }: MethodProbeOptions) {
  let probe: Promise<unknown> | undefined

  async function send (): Promise<void> {
    const { revocationEndpoint, tokenEndpointAuthMethods } = provider()
    if (!await authentication.isUndecided(tokenEndpointAuthMethods)) return
    const madeUp = randomBytes(32).toString('base64url')
    const { status } = revocationEndpoint === undefined
      ? await refresh(madeUp, TIMEOUT_MS)
      : await revocation.send(revocationEndpoint, madeUp, 'refresh_token', TIMEOUT_MS)
    if (status === 429 || status >= 500) throw new Error(`the provider answered the probe with ${status}`)
  }

  /** Resolves when the probe has ended, however it did. */
  return async function learnMethod (): Promise<void> {
    probe ??= send().catch(() => { probe = undefined })
    await probe
  }
}
