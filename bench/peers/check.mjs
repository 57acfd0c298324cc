import { createHash } from 'node:crypto'
import { createLocalJWKSet, jwtVerify } from 'jose'

/**
 * The token check of every server here: jose as documented, on each request. With CHECK=cache a verified token is
 * cached under its SHA-256 for a minute.
 */
const { CHECK = 'jose', ISSUER, AUDIENCE, JWKS_URI } = process.env

const keys = createLocalJWKSet(await (await fetch(JWKS_URI)).json())
const known = new Map()

/** @returns the claims; throws for a token that is not good */
export async function verify (token) {
  const digest = CHECK === 'cache' ? createHash('sha256').update(token).digest('base64url') : ''
  const found = known.get(digest)
  if (found !== undefined && found.until > Date.now()) return found.claims
  const { payload } = await jwtVerify(token, keys, {
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ['RS256'],
    requiredClaims: ['exp', 'sub']
  })
  if (CHECK === 'cache') {
    known.set(digest, { claims: payload, until: Math.min(payload.exp * 1_000, Date.now() + 60_000) })
  }
  return payload
}

/** The claims of a request with this Authorization header; undefined where it must be refused. */
export async function verifyHeader (authorization) {
  const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1]
  return token === undefined ? undefined : await verify(token).catch(() => undefined)
}

/** As the SDKs' own bearer middlewares want it. */
export async function toAuthInfo (token) {
  const claims = await verify(token)
  return {
    token,
    clientId: claims.client_id,
    scopes: claims.scope.split(' '),
    expiresAt: claims.exp,
    extra: { subject: claims.sub }
  }
}
