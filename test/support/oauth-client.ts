import type { OAuthClientProvider } from '@modelcontextprotocol/client'
import { createBrowser } from './browser.ts'

/** The state that a client keeps between its steps; the same shape serves both SDKs. */
export interface SignedInClient {
  provider: OAuthClientProvider
  /**
   * The redirect URL the browser was sent to at the end of sign-in; rejects when the client never asked for sign-in.
   */
  signIn (): Promise<URL>
  tokens (): { access_token: string, refresh_token?: string }
  /** As if the access token had run out. */
  spoilAccessToken (): void
  clientId (): string | undefined
}

/**
 * An OAuth client as the SDKs want it (S256, a loopback redirect URI), whose browser is a script. It registers, or with
 * `documentUrl` names itself by its metadata document.
 *
 * @param options.refreshes whether it wants a refresh token
 * @param options.signIn what the person does in the browser, at a provider other than the development one
 */
export function createOAuthClient (
  user = { login: 'ada', password: 'ada' },
  documentUrl?: string,
  { refreshes = true, redirectUri = 'http://localhost:53217/callback', signIn = signInAs(user) }: {
    refreshes?: boolean
    redirectUri?: string
    signIn?: (authorizationUrl: URL) => Promise<URL>
  } = {}
): SignedInClient {
  let information: { client_id: string } | undefined
  let tokens: { access_token: string, token_type: string, refresh_token?: string } | undefined
  let verifier = ''
  let asked: URL | undefined

  const provider = {
    redirectUrl: redirectUri,
    clientMetadata: {
      client_name: 'Flow test',
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', ...(refreshes ? ['refresh_token'] : [])],
      response_types: ['code'],
      token_endpoint_auth_method: 'none'
    },
    state: () => 'state-of-the-flow-test',
    ...(documentUrl !== undefined && { clientMetadataUrl: documentUrl }),
    clientInformation: () => information ?? (documentUrl === undefined ? undefined : { client_id: documentUrl }),
    saveClientInformation: (given: { client_id: string }) => { information = given },
    tokens: () => tokens,
    saveTokens: (given: NonNullable<typeof tokens>) => { tokens = given },
    redirectToAuthorization: (url: URL) => { asked = url },
    invalidateCredentials: (what: string) => { if (what === 'tokens' || what === 'all') tokens = undefined },
    saveCodeVerifier: (given: string) => { verifier = given },
    codeVerifier: () => verifier
  }

  return {
    provider: provider as OAuthClientProvider,
    async signIn () {
      if (asked === undefined) throw new Error('the client did not ask for sign-in')
      const [url] = [asked]
      asked = undefined
      return await signIn(url)
    },
    tokens: () => tokens!,
    spoilAccessToken () {
      tokens = { ...tokens!, access_token: `${tokens!.access_token.split('.').slice(0, 2).join('.')}.spoiled` }
    },
    clientId: () => information?.client_id
  }
}

function signInAs (user: { login: string, password: string }): (authorizationUrl: URL) => Promise<URL> {
  return async (url) => await createBrowser().signIn(url, user)
}
