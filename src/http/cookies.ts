import { parseCookie, stringifySetCookie } from 'cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Seed's cookies: `__Host-` with Secure, HttpOnly and SameSite=Lax, so that no other site and no subdomain can set or
 * read them, and the provider's redirect back still carries them. On http (this machine only) browsers refuse that
 * prefix: there the name has none, and with https that name means nothing.
 */
export interface Cookies {
  read (request: FastifyRequest, name: string): string | undefined
  /** The cookies of the request whose names begin so and are such as Seed gives; without the prefix of this file, in the order of the browser. */
  names (request: FastifyRequest, beginning: string): string[]
  set (reply: FastifyReply, name: string, value: string, maxAgeSeconds: number): void
  clear (reply: FastifyReply, name: string): void
}

export function createCookies (baseUrl: string): Cookies {
  const secure = baseUrl.startsWith('https:')
  const prefix = secure ? '__Host-seed-' : 'seed-'

  function write (reply: FastifyReply, name: string, value: string, maxAge: number): void {
    reply.header('set-cookie', stringifySetCookie({ name: prefix + name, value, path: '/', httpOnly: true, sameSite: 'lax', secure, maxAge }))
  }

  return {
    read: ({ headers: { cookie = '' } }, name) => parseCookie(cookie)[prefix + name],
    names: ({ headers: { cookie = '' } }, beginning) =>
      Object.keys(parseCookie(cookie)).filter((name) => name.startsWith(prefix + beginning) && /^[\w-]{1,64}$/.test(name)).map((name) => name.slice(prefix.length)),
    set: write,
    clear: (reply, name) => { write(reply, name, '', 0) }
  }
}
