import { createHash, randomBytes } from 'node:crypto'
import { createBrowser } from './browser.ts'
import type { Browser, Page } from './browser.ts'

/** A client by plain HTTP, which sees every answer on the way, refusals included. */
export interface PlainClient {
  clientId: string
  redirectUri: string
  verifier: string
  /** An authorization request; undefined leaves a parameter out. */
  authorizationUrl(parameters?: Record<string, string | undefined>): URL
  /**
   * Walks consent and the provider's pages as this user; the last page, or (status 0) where the client is called
   * back.
   */
  walk(
    user?: { login: string; password: string },
    parameters?: Record<string, string | undefined>,
    browser?: Browser
  ): Promise<Page>
  token(parameters: Record<string, string>): Promise<Response>
  /** Sends the code that the walk ended with. */
  redeem(page: Pick<Page, 'url'>): Promise<Response>
  refresh(refreshToken: string, parameters?: Record<string, string>): Promise<Response>
}

/** The redirect URI of a plain client that is not given another. */
export const PLAIN_REDIRECT_URI = 'http://127.0.0.1:53219/callback'
export const ADA = { login: 'ada', password: 'ada' }

/**
 * @param url BASE_URL
 * @param given a client that is known already; otherwise one is registered
 * @param send instead of the global fetch
 */
export async function createPlainClient (
  url: string,
  given?: { clientId: string; redirectUri: string },
  send: typeof fetch = fetch
): Promise<PlainClient> {
  const redirectUri = given?.redirectUri ?? PLAIN_REDIRECT_URI
  const clientId = given?.clientId ?? await register(url, redirectUri, send)
  const verifier = randomBytes(32).toString('base64url')

  const client: PlainClient = {
    clientId,
    redirectUri,
    verifier,

    authorizationUrl (parameters = {}) {
      const target = new URL(`${url}/oauth/authorize`)
      const all = {
        response_type: 'code',
        client_id: clientId,
        redirect_uri: redirectUri,
        state: 'the-state',
        resource: `${url}/mcp`,
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        ...parameters
      }
      for (const [name, value] of Object.entries(all)) if (value !== undefined) target.searchParams.set(name, value)
      return target
    },

    async walk (user = ADA, parameters = {}, browser = createBrowser()) {
      let page = await browser.get(client.authorizationUrl(parameters))
      for (let step = 0; step < 5 && page.status === 200 && page.forms[0] !== undefined; step++) {
        const form = page.forms[0]
        const button = form.buttons[0]
        page = await browser.submit(form, {
          ...(button !== undefined && { [button.name]: button.value }),
          ...(form.names.includes('login') && user)
        })
      }
      return page
    },

    token: async (parameters) =>
      await send(`${url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({ client_id: clientId, ...parameters })
      }),
    redeem: async (page) =>
      await client.token({
        grant_type: 'authorization_code',
        code: page.url.searchParams.get('code')!,
        redirect_uri: redirectUri,
        code_verifier: verifier,
        resource: `${url}/mcp`
      }),
    refresh: async (refreshToken, parameters = {}) =>
      await client.token({ grant_type: 'refresh_token', refresh_token: refreshToken, ...parameters })
  }
  return client
}

async function register (url: string, redirectUri: string, send: typeof fetch): Promise<string> {
  const answer = await send(`${url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Plain client', redirect_uris: [redirectUri] })
  })
  return (await answer.json() as { client_id: string }).client_id
}

export interface TokenAnswer {
  access_token: string
  refresh_token?: string
  expires_in?: number
  scope?: string
  error?: string
  error_description?: string
}

/** The JSON of a token answer, with its status. */
export async function readTokens (answer: Response): Promise<TokenAnswer & { status: number }> {
  return { status: answer.status, ...await answer.json() as TokenAnswer }
}

/** Signs in and redeems; for tests in which all of that goes well. */
export async function signedIn (
  client: PlainClient,
  user = ADA,
  parameters: Record<string, string | undefined> = {}
): Promise<TokenAnswer> {
  const page = await client.walk(user, parameters)
  if (page.status !== 0) throw new Error(`Sign-in ended at ${page.url.href} (${page.status}): ${page.body}`)
  return await readTokens(await client.redeem(page))
}
