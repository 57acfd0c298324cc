import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { requireAuthDeclaration } from '../src/http/route-auth.ts'

/** Takes the place of jwt-auth with AUTH_REQUIRED=false: nobody is signed in, and no request has a principal. */
async function openAccess (app: FastifyInstance): Promise<void> {
  app.decorateRequest('principal', undefined)
  app.addHook('onRoute', requireAuthDeclaration(undefined))
}

export default fp(openAccess, { name: 'open-access', dependencies: ['config'], fastify: '5.x' })
