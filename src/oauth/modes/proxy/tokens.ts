import type { TokenIssuer } from '../mode.ts'
import { createAuthorizationCodeGrant } from './authorization-code.ts'
import type { AuthorizationCodeGrantOptions } from './authorization-code.ts'
import { createRefreshTokenGrant } from './refresh-token.ts'
import type { RefreshTokenGrantOptions } from './refresh-token.ts'

export type ProxyTokensOptions = AuthorizationCodeGrantOptions & RefreshTokenGrantOptions

/** The grant types of proxy mode. A new one is one file and one line here. */
export function createProxyTokens (options: ProxyTokensOptions): TokenIssuer {
  return {
    authorizationCode: createAuthorizationCodeGrant(options),
    refreshToken: createRefreshTokenGrant(options)
  }
}
