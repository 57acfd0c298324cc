import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'

/** The provider as far as servers need it to verify tokens: discovery and keys. The tokens are made here, RS256. */
export interface Identity {
  issuer: string
  audience: string
  jwksUri: string
  /** Access tokens of so many people, from the `from`th on; the same one for the same number. */
  tokens (count: number, from?: number): Promise<string[]>
  close (): Promise<void>
}

const AUDIENCE = 'seed-benchmark'
const LIFETIME_SECONDS = 36_000
const KEY_ID = 'benchmark-1'
const signAsync = promisify(sign)

export async function startIdentity (): Promise<Identity> {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const jwks = JSON.stringify({
    keys: [{ ...publicKey.export({ format: 'jwk' }), kid: KEY_ID, use: 'sig', alg: 'RS256' }]
  })
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    if (request.url === '/.well-known/openid-configuration') response.end(discovery())
    else if (request.url === '/jwks') response.end(jwks)
    else response.writeHead(404).end('{}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const discovery = (): string => JSON.stringify({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256']
  })

  const now = Math.floor(Date.now() / 1_000)
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const header = encode({ alg: 'RS256', typ: 'at+jwt', kid: KEY_ID })
  const secret = randomBytes(16)

  const made = new Map<number, string>()

  async function token (number: number): Promise<string> {
    const known = made.get(number)
    if (known !== undefined) return known

    const person = createHmac('sha256', secret).update(String(number)).digest('hex').slice(0, 12)
    const claims = encode({
      iss: issuer,
      aud: AUDIENCE,
      sub: `user-${person}`,
      client_id: 'claude-code',
      scope: 'openid profile email',
      email: `${person}@example.com`,
      iat: now,
      exp: now + LIFETIME_SECONDS,
      jti: person
    })
    const signature = await signAsync('RSA-SHA256', Buffer.from(`${header}.${claims}`), privateKey)
    const token = `${header}.${claims}.${signature.toString('base64url')}`
    made.set(number, token)
    return token
  }

  return {
    issuer,
    audience: AUDIENCE,
    jwksUri: `${issuer}/jwks`,
    async tokens (count, from = 0) {
      const tokens: string[] = []
      // As many at once as the thread pool has threads, and some that wait.
      for (let done = 0; done < count; done += 64) {
        tokens.push(
          ...(await Promise.all(
            Array.from({ length: Math.min(64, count - done) }, async (_none, index) => await token(from + done + index))
          ))
        )
      }
      return tokens
    },
    async close () {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}

/** The same token with another signature of the same length. */
export function withBrokenSignature (token: string): string {
  const at = token.lastIndexOf('.') + 11
  return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)
}
