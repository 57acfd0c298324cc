import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { HttpError } from '../errors/http-error.ts'
import { TraceStep } from '../trace/step.ts'
import type { StepName } from '../trace/step.ts'
import type { Traces } from '../trace/traces.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Facts about the sign-in that this request belongs to; undefined outside sign-in. */
    traceStep: TraceStep | undefined
    /** The error that was answered. */
    failure: HttpError | undefined
  }
}

/** Steps that are recorded only if they fail: otherwise they say nothing about a sign-in. */
const ONLY_FAILURES: readonly StepName[] = ['register', 'refresh', 'revoke', 'connections']

/**
 * Records each request of a scope as a step of its sign-in. Must be called before hooks that refuse requests are added.
 */
export function traceSteps (scope: FastifyInstance, name: StepName, traces: Traces): void {
  scope.addHook('onRequest', (request, _reply, done) => {
    request.traceStep = new TraceStep(name, request.id)
    done()
  })
  scope.addHook('onResponse', (request, reply, done) => {
    const step = request.traceStep
    const { failure } = request
    // A hook before these has refused the request, or it is a preflight.
    if (step === undefined || request.method === 'OPTIONS') return done()
    if (failure !== undefined || step.error !== undefined || !ONLY_FAILURES.includes(step.name)) {
      const recorded = {
        step: step.name,
        at: Date.now(),
        ms: reply.elapsedTime,
        request: request.id,
        status: reply.statusCode,
        outcome: step.outcome,
        ...describeFailure(failure ?? step.error),
        facts: step.facts,
        provider: step.providerAnswers
      }
      // A form may be a stranger's own; later steps need what only a sign-in gives.
      const isProved = step.isContinued && step.name !== 'consent'
      traces.record('sign-in', step.reference, recorded, isProved ? undefined : request.ip)
    }
    done()
  })
}

/** Records a call that was refused because of its token. */
export function traceRefusedCall (traces: Traces, request: FastifyRequest, error: HttpError): void {
  const recorded = {
    step: 'refused call',
    at: Date.now(),
    ms: 0,
    request: request.id,
    status: error.statusCode,
    ...describeFailure(error)
  }
  traces.record('call', request.id, recorded, request.ip)
}

function describeFailure (failure: HttpError | undefined) {
  if (failure === undefined) return {}
  const { code, causeCode, detail, message } = failure
  return { error: code, cause: causeCode, reason: detail ?? message }
}
