import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/config.ts'
import { digest } from '../crypto/hash.ts'

export interface Cookie {
  name: string
  value: string
  maxAgeSeconds: number
}

export type Cookies = ReturnType<typeof createCookies>

/**
 * Reads and sets Seed's cookies, in a scope with @fastify/cookie. Over https their names begin with `__Host-`, so that
 * no other site and no subdomain can set them. SameSite=Lax lets the provider's redirect bring them back. Browsers
 * refuse that prefix over http, which Seed allows on this machine only. Names in this interface are without prefix.
 *
 * `__Host-` requires Path=/ (RFC 6265bis section 4.1.3.2). With a path in BASE_URL, names have a hash of it, so that
 * several Seeds on one host have cookies of their own. `__Secure-` with that path would let a subdomain plant a cookie,
 * and would keep nothing from other applications on the host: their scripts are of the same origin.
 */
export function createCookies ({ baseUrl, basePath }: Pick<Config, 'baseUrl' | 'basePath'>) {
  const secure = baseUrl.startsWith('https:')
  const name = basePath === '' ? 'seed-' : `seed_${digest(basePath).slice(0, 8)}-`
  const prefix = secure ? `__Host-${name}` : name
  const attributes = { path: '/', httpOnly: true, sameSite: 'lax', secure } as const

  function setCookie (reply: FastifyReply, { name, value, maxAgeSeconds }: Cookie): void {
    reply.setCookie(prefix + name, value, { ...attributes, maxAge: maxAgeSeconds })
  }

  return {
    /** Returns Seed's cookies of a request, in the browser's order. Names that Seed never uses are left out. */
    read ({ cookies }: FastifyRequest): Map<string, string> {
      const own = Object.entries(cookies).filter(([name]) => name.startsWith(prefix) && /^[\w-]{1,64}$/.test(name))
      return new Map(own.map(([name, value]) => [name.slice(prefix.length), value!]))
    },

    set: setCookie,

    clear (reply: FastifyReply, name: string): void {
      setCookie(reply, { name, value: '', maxAgeSeconds: 0 })
    }
  }
}
