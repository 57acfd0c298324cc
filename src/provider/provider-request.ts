import * as oauth from 'oauth4webapi'
import { OAuthError } from '../errors/oauth-error.ts'
import { boundedFetch } from '../net/fetch.ts'
import type { ProviderContact } from './contact.ts'

const TIMEOUT_MS = 10_000

/** Options that all requests of oauth4webapi take. */
interface HttpOptions {
  [oauth.allowInsecureRequests]: boolean
  [oauth.customFetch]: typeof fetchWithinLimits
}

/** Sends a request of oauth4webapi through `boundedFetch`. @throws OAuthError temporarily_unavailable */
export async function sendToProvider (
  endpoint: string,
  contact: Pick<ProviderContact, 'watch'>,
  request: (http: HttpOptions) => Promise<Response>,
  timeoutMs = TIMEOUT_MS
): Promise<Response> {
  try {
    return await contact.watch(async () => await request({
      // Discovery and the settings have accepted an http URL: on this machine, or with OIDC_ALLOW_INSECURE_HTTP.
      [oauth.allowInsecureRequests]: new URL(endpoint).protocol === 'http:',
      [oauth.customFetch]: async (url, init) => await fetchWithinLimits(url, init, timeoutMs)
    }))
  } catch (err) {
    throw new OAuthError('temporarily_unavailable', 'The identity provider cannot be reached; try again shortly', {
      detail: (err as Error).message,
      causeCode: 'provider_unavailable',
      cause: err,
      retryAfterSeconds: 5,
      page: { sentence: 'The identity provider cannot be reached.' }
    })
  }
}

interface FetchInit {
  method: string
  headers: Record<string, string>
  body?: unknown
}

/** Fetches for oauth4webapi, through `boundedFetch`. @throws FetchError */
export async function fetchWithinLimits (
  url: string, { method, headers, body }: FetchInit, timeoutMs = TIMEOUT_MS
): Promise<Response> {
  const init = { method, headers, ...(body !== undefined && body !== null && { body: String(body) }) }
  const { status, headers: answered, body: text } = await boundedFetch(url, init, { timeoutMs })
  // A response with status 204 or 205 must not be given a body, not even an empty one.
  return new Response(text === '' ? null : text, { status, headers: answered })
}
