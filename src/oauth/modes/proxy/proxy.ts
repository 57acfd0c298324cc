import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Config } from '../../../config/config.ts'
import type { Principal } from '../../../tokens/principal.ts'
import type { Mode } from '../mode.ts'
import { sidKey, subjectKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { createProxyRevocation } from './revocation.ts'
import { createProxySignIn } from './sign-in.ts'
import { createProxyTokens } from './tokens.ts'

/** OAUTH_MODE=proxy: the provider issues the tokens, and Seed stands in front of it. */
export function createProxy ({ config, toolScopes, upstream, revocations, verifyAccessToken }: {
  config: Config
  /** Scopes that only some tools need. */
  toolScopes: readonly string[]
  upstream: TokenClient
  revocations: Revocations
  verifyAccessToken: (token: string) => MaybePromise<Principal>
}): Mode {
  const { preset, scopes, clientId } = config.oidc
  return {
    signIn: createProxySignIn({ upstream, upstreamClientId: clientId, allScopes: preset.alwaysAllScopes ? scopes : undefined }),
    issuer: createProxyTokens({
      upstream,
      verifyAccessToken,
      scopes,
      toolScopes,
      upstreamScope: preset.alwaysAllScopes ? scopes.join(' ') : undefined,
      redirectUriSchemes: config.oauth.redirectUriSchemes
    }),
    revoker: createProxyRevocation({ revocations, upstream, verifyAccessToken }),

    /** The provider keeps the grants; here it is the access tokens issued so far that end. */
    async revokeFor (who) {
      await revocations.revoke(['sid' in who ? sidKey(who.sid) : subjectKey(who.subject)], Math.floor(Date.now() / 1_000))
      return 1
    }
  }
}
