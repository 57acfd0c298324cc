import { createHash } from 'node:crypto'
import { createBrowser } from './browser.ts'
import type { TestSeed } from './seed.ts'

export interface ProxySignIn {
  clientId: string
  redirectUri: string
  verifier: string
  scope?: string
}

/** Sends the authorization request and presses "Allow", as far as the redirect to the provider, which it returns. */
export async function allowSignIn (
  { url }: Pick<TestSeed, 'url'>, { clientId, redirectUri, verifier, scope }: ProxySignIn
): Promise<URL> {
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256',
    ...(scope !== undefined && { scope })
  })
  const browser = createBrowser()
  const page = await browser.get(`${url}/oauth/authorize?${query.toString()}`)
  if (page.status !== 200) throw new Error(`No consent page: ${page.status} ${page.body}`)
  const left = await browser.submit(
    page.forms[0]!,
    { decision: 'approve' },
    (next) => next.origin !== new URL(url).origin
  )
  if (left.status !== 0) throw new Error(`Not sent to the provider: ${left.status} ${left.body}`)
  return left.url
}

export function challengeOf (verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}
