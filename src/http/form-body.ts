import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'

/** Makes a scope take forms (application/x-www-form-urlencoded) and nothing else. A repeated field parses to an array, which no schema takes. */
export async function acceptFormsOnly (app: FastifyInstance, bodyLimit: number): Promise<void> {
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit })
}
