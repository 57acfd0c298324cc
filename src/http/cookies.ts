import type { FastifyReply, FastifyRequest } from 'fastify'

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
 */
export function createCookies (baseUrl: string) {
  const secure = baseUrl.startsWith('https:')
  const prefix = secure ? '__Host-seed-' : 'seed-'
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
