import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuditTrail } from '../audit/audit-log.ts'
import type { ClientKindOf } from '../audit/client-kind.ts'
import type { LimitedRefusals } from '../audit/limited-refusals.ts'
import type { AuditEntry } from '../audit/record.ts'
import { messageTraceId } from '../audit/trace.ts'
import { clientAddressKey } from '../net/addresses.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The action that a route has taken, for the audit log; a request that fails becomes a refusal. */
    auditEntry: RequestEntry | undefined
    /** Whether the audit log has lines of the calls of this request already. */
    isRecorded: boolean
  }
}

/** The part of an entry that a route knows. */
export type RequestEntry = Omit<Partial<AuditEntry>, 'event'> & Pick<AuditEntry, 'event'>

/** Makes the function that writes the line of a request when it is answered: what its route did, or its refusal. */
export function createRequestRecorder (
  audit: AuditTrail, limitedRefusals: Pick<LimitedRefusals, 'record'>, kindOf: ClientKindOf
) {
  return (request: FastifyRequest, reply: FastifyReply): void => {
    const { auditEntry, logFields = {} } = request
    const failure = failureOf(request, reply)
    const isRefusal = failure !== undefined || auditEntry?.event === 'refusal'
    if (request.isRecorded || (auditEntry === undefined && !isRefusal)) return
    const { principal } = request
    const client = principal?.clientId ?? claimedClient(request, logFields)
    const entry: AuditEntry = {
      outcome: reply.statusCode >= 500 ? 'unavailable' : isRefusal ? 'refused' : 'ok',
      request: request.id,
      trace: messageTraceId(request.headers, request.body) ?? request.traceId,
      address: request.ip,
      issuer: principal?.issuer,
      subject: principal?.subject,
      client,
      kind: kindOf(client),
      ...auditEntry,
      event: isRefusal ? 'refusal' : auditEntry!.event,
      ...(isRefusal && { target: targetOf(request) }),
      ms: Math.round(reply.elapsedTime * 10) / 10,
      ...failure
    }
    if (reply.statusCode === 429) limitedRefusals.record(entry, sourceOf(request), principal !== undefined)
    else audit.record(entry)
  }
}

/** A person wherever they are, or an address at an endpoint. */
function sourceOf ({ principal, ip, routeOptions: { url } }: FastifyRequest): string {
  return principal === undefined ? `${url} ${clientAddressKey(ip)}` : `${principal.issuer} ${principal.subject}`
}

/** Every sign-in begins with a request without a token, and unknown paths and probes refuse nobody. */
function failureOf (
  request: FastifyRequest, { statusCode }: FastifyReply
): Pick<AuditEntry, 'error' | 'reason'> | undefined {
  const { logFields = {}, routeOptions: { url, config } } = request
  const error = logFields['refused'] ?? logFields['error']
  if (error === undefined && statusCode < 400) return undefined
  if (error === 'missing_token' || url === undefined || config?.quiet === true) return undefined
  const { reason } = logFields
  return { error: String(error ?? statusCode), ...(typeof reason === 'string' && { reason }) }
}

/** The id that the client gives itself. Where the request failed, nobody may have checked it. */
function claimedClient ({ query, body }: FastifyRequest, { client }: Record<string, unknown>): string | undefined {
  const claimed = client ?? Object(body)['client_id'] ?? Object(query)['client_id']
  return typeof claimed === 'string' ? claimed : undefined
}

/** The path of the endpoint and, of a call, what was to be called. */
function targetOf ({ routeOptions, logFields = {} }: FastifyRequest): string {
  const { mcpMethod, tool } = logFields as { mcpMethod?: string, tool?: string }
  return [routeOptions.url, mcpMethod, tool].filter((part) => part !== undefined).join(' ')
}
