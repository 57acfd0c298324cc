import { randomId } from '../../../crypto/hash.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { throwawayChallenge } from '../../protocol/pkce.ts'
import type { SignIn } from '../sign-in.ts'
import type { Approvals } from './approvals.ts'

/**
 * Sends the browser on to the provider, with the provider's client id and the client's own redirect URI, to which the
 * provider responds.
 *
 * Only parameters of an allow-list are forwarded. `resource` is not: Entra and others refuse it. A `nonce` is always
 * sent, because some providers require one.
 *
 * @param alwaysScopes OIDC_SCOPES, if the provider must always be asked for all of them
 */
export function createProxySignIn (
  upstream: Pick<TokenClient, 'authorizationUrl' | 'signInUrl' | 'effectiveScopes'>,
  approvals: Pick<Approvals, 'add'>,
  alwaysScopes: readonly string[]
): SignIn {
  return {
    effectiveScopes: (scopes) => upstream.effectiveScopes([...new Set([...alwaysScopes, ...scopes])]),

    async start (request) {
      const { redirectUri, state, codeChallenge, scopes, nonce, prompt, maxAge, acrValues, loginHint } = request
      const location = await upstream.signInUrl({
        redirect_uri: redirectUri,
        state,
        code_challenge: codeChallenge,
        nonce: nonce ?? randomId(16),
        prompt,
        max_age: maxAge,
        acr_values: acrValues,
        login_hint: loginHint
      }, scopes)
      await approvals.add(request)
      return { location }
    },

    probeUrl: (scopes) =>
      upstream.authorizationUrl({ code_challenge: throwawayChallenge(), nonce: randomId(16) }, scopes)
  }
}
