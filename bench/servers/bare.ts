import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import type { FastifyRequest } from 'fastify'
import { createLocalJWKSet, jwtVerify } from 'jose'
import type { JSONWebKeySet } from 'jose'

/**
 * The base of every ratio: a Fastify 5 route that parses the same request and sends the same response, without sign-in.
 * With BENCH_CHECK it verifies the token too, which shows what is left for everything else. With BENCH_LIST it sends
 * the bytes of that file as the result of every request.
 */
const { PORT, BENCH_CHECK = 'none', BENCH_LIST, ISSUER = '', AUDIENCE = '', JWKS_URI } = process.env

const CONTENT = [{ type: 'text', text: 'pong' }]
const SERVER_INFO = { 'io.modelcontextprotocol/serverInfo': { name: 'seed', title: 'Seed', version: '0.1.3' } }

interface Call {
  id: number
  params: { _meta?: object }
}

const app = Fastify()

if (BENCH_LIST === undefined) {
  app.post<{ Body: Call }>('/mcp', async ({ body: { id, params } }) => ({
    jsonrpc: '2.0',
    id,
    result:
      params._meta === undefined
        ? { content: CONTENT }
        : { content: CONTENT, resultType: 'complete', _meta: SERVER_INFO }
  }))
} else {
  const result = readFileSync(BENCH_LIST, 'utf8')
  app.post<{ Body: Call }>('/mcp', async ({ body: { id } }, reply) =>
    reply.type('application/json; charset=utf-8').send(`{"jsonrpc":"2.0","id":${id},"result":${result}}`)
  )
}

if (BENCH_CHECK !== 'none') {
  const keys = createLocalJWKSet(await (await fetch(JWKS_URI!)).json() as JSONWebKeySet)
  const known = new Map<string, number>()
  app.addHook('onRequest', async (request: FastifyRequest, reply) => {
    try {
      await verify(request.headers.authorization!.slice('Bearer '.length))
    } catch {
      return await reply.code(401).send()
    }
  })

  /** The documented use of jose, on each request or on the first of a token. */
  async function verify (token: string): Promise<void> {
    const digest = BENCH_CHECK === 'cache' ? hash('sha256', token) : ''
    const until = known.get(digest)
    if (until !== undefined && until > Date.now()) return
    const { payload } = await jwtVerify(token, keys, {
      issuer: ISSUER,
      audience: AUDIENCE,
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'sub']
    })
    if (BENCH_CHECK === 'cache') known.set(digest, Math.min(payload.exp! * 1_000, Date.now() + 60_000))
  }
}

await app.listen({ port: Number(PORT), host: '127.0.0.1' })
