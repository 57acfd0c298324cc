import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createTraces } from '../src/trace/traces.ts'
import type { Traces } from '../src/trace/traces.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Records the steps of sign-ins and refused calls, for `seed trace`. */
    traces: Traces
  }
}

/** Shares the record of sign-ins. */
async function signInTraces (app: FastifyInstance): Promise<void> {
  const { config: { oauth: { maxTraces, limits: { perAddress } } }, store, telemetry, log } = app
  app.decorate('traces', createTraces({
    store, maxTotal: maxTraces, maxPerAddress: perAddress, log, onFirstCall: telemetry?.firstCallCame
  }))
}

export default fp(signInTraces, { name: 'sign-in-traces', dependencies: ['redis', 'telemetry'], fastify: '5.x' })
