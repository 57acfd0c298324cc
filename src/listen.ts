import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { explainListenError } from './net/listen-error.ts'

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
    throw explainListenError(err, { host, port, hostSetting: 'HOST', portSetting: 'PORT' })
  }
}
