import type { IncomingMessage } from 'node:http'
import { decodeJwt } from 'jose'
import type { Refusal } from './quirks.ts'
import type { ProviderState } from './state.ts'

/** Refuses a client as the quirks say, in addition to the checks of `oidc-provider`. */
export function refuseClient (
  req: IncomingMessage, form: URLSearchParams, { clientId, issuer, quirks }: ProviderState
): Refusal | undefined {
  const { refuseOtherAuthMethod: refusal, assertionAudience } = quirks
  const usesBasic = req.headers.authorization?.startsWith('Basic ') === true
  const isPostClient = usesBasic && decodeBasic(req.headers.authorization!)[0] === `${clientId}-post`
  const isBasicClient = form.has('client_secret') && form.get('client_id') === `${clientId}-confidential`
  if (refusal !== undefined && (isPostClient || isBasicClient)) return refusal
  const assertion = form.get('client_assertion')
  const isForEndpoint = assertionAudience !== undefined && assertion !== null
  if (isForEndpoint && decodeJwt(assertion).aud !== `${issuer}${assertionAudience}`) return { status: 403 }
  return undefined
}

/** Makes `oidc-provider`, which decodes Basic credentials, compare them as they came, as providers do that do not. */
export function takeBasicAsItIs (req: IncomingMessage): void {
  const { authorization } = req.headers
  if (authorization?.startsWith('Basic ') !== true) return
  const [id, secret] = /^([^:]*):(.*)$/s.exec(decodeBase64(authorization))!.slice(1).map(encodeURIComponent)
  req.headers.authorization = `Basic ${btoa(`${id}:${secret}`)}`
}

function decodeBasic (authorization: string): string[] {
  return decodeBase64(authorization).split(':').map(decodeURIComponent)
}

function decodeBase64 (authorization: string): string {
  return Buffer.from(authorization.slice('Basic '.length), 'base64').toString()
}
