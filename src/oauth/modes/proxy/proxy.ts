import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Config } from '../../../config/config.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { sidKey, subjectKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { Mode } from '../mode.ts'
import { createProxyRevocation } from './revocation.ts'
import { createProxySignIn } from './sign-in.ts'
import { createProxyTokens } from './tokens.ts'

export interface ProxyOptions {
  config: Config
  /** Scopes that only some tools need. */
  toolScopes: readonly string[]
  upstream: TokenClient
  revocations: Revocations
  /** Verifies an access token of the provider's, as /mcp does. */
  verifyAccessToken: (token: string) => MaybePromise<Principal>
}

/** OAUTH_MODE=proxy: the provider issues the tokens, and Seed forwards requests to it. */
export function createProxy ({ config, toolScopes, upstream, revocations, verifyAccessToken }: ProxyOptions): Mode {
  const { preset, scopes } = config.oidc
  const { redirectUriSchemes } = config.oauth
  const alwaysScopes = preset.alwaysAllScopes ? scopes : undefined
  return {
    signIn: createProxySignIn(upstream, alwaysScopes),
    tokenIssuer: createProxyTokens({
      upstream, verifyAccessToken, scopes, toolScopes, alwaysScopes, redirectUriSchemes
    }),
    tokenRevoker: createProxyRevocation({ revocations, upstream, verifyAccessToken }),

    /** The provider keeps the grants; here the access tokens issued so far are revoked. */
    async revokeFor (who) {
      const key = 'sid' in who ? sidKey(who.sid) : subjectKey(who.subject)
      await revocations.revoke([key], Math.floor(Date.now() / 1_000))
      return 1
    }
  }
}
