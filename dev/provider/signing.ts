import { createPublicKey } from 'node:crypto'
import { CompactSign, calculateJwkThumbprint, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import type { JWK } from 'jose'
import type { AdapterPayload } from 'oidc-provider'
import type { SigningKey } from './quirks.ts'
import { tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

export async function createSigningKey (algorithm: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const key = await exportJWK(privateKey)
  return { ...key, alg: algorithm, use: 'sig', kid: await calculateJwkThumbprint(key) }
}

/** Signs claims. The header can override everything; with `alg: 'none'` there is no signature. */
export async function signToken (
  { algorithm, keys }: ProviderState,
  claims: Record<string, unknown>,
  headerOverrides: Record<string, unknown>,
  key: SigningKey = keys[0]!
): Promise<string> {
  const header = { alg: algorithm as string, kid: keys[0]!.kid!, ...headerOverrides }
  if (header.alg === 'none') {
    return `${[header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`
  }
  return await new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader(header).sign(key)
}

/** Claims of a token that is issued now. */
export function lifetime (seconds: number): { iat: number, exp: number } {
  const iat = Math.floor(Date.now() / 1000)
  return { iat, exp: iat + seconds }
}

/** Finds the record of an access token of this provider that is neither expired nor revoked. */
export async function findAccessToken (state: ProviderState, token: string): Promise<AdapterPayload | undefined> {
  if (!token.includes('.')) return await state.accessTokens.find(token)
  const getKey = ({ kid }: { kid?: string }) =>
    createPublicKey({ key: { ...state.keys.find((key) => key.kid === kid) }, format: 'jwk' })
  try {
    const { payload } = await jwtVerify(token, getKey, { issuer: tokenIssuer(state), typ: 'at+jwt' })
    return await state.accessTokens.find(`${payload.jti}`)
  } catch {
    return undefined
  }
}
