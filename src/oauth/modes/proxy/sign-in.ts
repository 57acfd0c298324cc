import { randomBytes } from 'node:crypto'
import { throwawayChallenge } from '../../protocol/pkce.ts'
import type { SignIn } from '../sign-in.ts'
import type { TokenClient } from '../../../provider/token-client.ts'

/**
 * Proxy mode: on to the provider, with the provider's client id and the client's own redirect URI, where the provider
 * answers. From an allow-list: nothing else that the client sent goes on. `resource` stays here (Entra and others
 * refuse it). A `nonce` is always sent, as some providers require one.
 */
export interface ProxySignInServices {
  upstream: Pick<TokenClient, 'authorizationUrl'>
  upstreamClientId: string
  /** OIDC_SCOPES, where the provider must always be asked for all of them. */
  allScopes: readonly string[] | undefined
}

export function createProxySignIn ({ upstream, upstreamClientId, allScopes }: ProxySignInServices): SignIn {
  const common = { response_type: 'code', client_id: upstreamClientId, code_challenge_method: 'S256' }
  const newNonce = (): string => randomBytes(16).toString('base64url')

  return {
    async start ({ redirectUri, state, codeChallenge, scopes, nonce = newNonce(), prompt, maxAge, loginHint }) {
      const location = upstream.authorizationUrl({
        ...common,
        redirect_uri: redirectUri,
        state,
        code_challenge: codeChallenge,
        nonce,
        prompt,
        max_age: maxAge,
        login_hint: loginHint
      }, [...new Set([...allScopes ?? [], ...scopes])])
      return { location }
    },

    probeUrl: (scopes) => upstream.authorizationUrl({ ...common, code_challenge: throwawayChallenge(), nonce: newNonce() }, scopes)
  }
}
