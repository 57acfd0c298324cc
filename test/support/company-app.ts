import { createHash, randomBytes } from 'node:crypto'
import { createBrowser } from './browser.ts'

/** The company's client, by its registration at the development provider. */
export const COMPANY_APP = { clientId: 'company-app', clientSecret: 'dev-secret' }

/**
 * Signs Ada in to the company's client at the development provider.
 *
 * @param redirectUri one that the provider knows; nothing listens there
 * @returns her ID token
 */
export async function getCompanyIdToken (issuer: string, redirectUri: string): Promise<string> {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: COMPANY_APP.clientId,
    redirect_uri: redirectUri,
    scope: 'openid email',
    nonce: 'n',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256'
  })
  const answer = await createBrowser().signIn(`${issuer}/auth?${query}`, { login: 'ada', password: 'ada' })
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: answer.searchParams.get('code')!,
      redirect_uri: redirectUri,
      code_verifier: verifier,
      client_id: COMPANY_APP.clientId,
      client_secret: COMPANY_APP.clientSecret
    })
  })
  return (await response.json() as { id_token: string }).id_token
}
