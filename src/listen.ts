import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * Listens where the configuration says; an app that cannot is closed.
 *
 * @returns the port, which the system chose when PORT is 0
 * @throws Error with a sentence for a person when the address cannot be had
 */
export async function listen (app: FastifyInstance): Promise<number> {
  const { host, port } = app.config
  try {
    await app.listen({ host, port })
    return (app.server.address() as AddressInfo).port
  } catch (err) {
    await app.close()
    const reasons: Record<string, string> = {
      EADDRINUSE: `Port ${port} is already in use: stop what listens there, or set PORT to another one`,
      EACCES: `Port ${port} may not be opened by this user: set PORT to one above 1023`,
      EADDRNOTAVAIL: `This machine has no address "${host}": set HOST to one it has`,
      ENOTFOUND: `This machine has no address "${host}": set HOST to one it has`
    }
    throw new Error(reasons[String((err as NodeJS.ErrnoException).code)] ?? (err as Error).message, { cause: err })
  }
}
