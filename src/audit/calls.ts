import type { AuditTrail } from './audit-log.ts'
import type { ClientKindOf } from './client-kind.ts'
import type { AuditEntry } from './record.ts'
import { messageTraceId } from './trace.ts'

/** A call that has ended, as the MCP engine reports it (src/mcp/exchange.ts). */
export interface EndedCall {
  request: {
    id: string
    address: string
    headers: Record<string, string | string[] | undefined>
    body: unknown
    principal: {
      kind: 'person' | 'service', issuer: string, subject: string, clientId: string | undefined
    } | undefined
    /** The trace that Seed has begun for the request; undefined where requests are not traced. */
    traceId?: string | undefined
    markRecorded? (): void
  }
  method: string
  name: string
  arguments: unknown
  outcome: AuditEntry['outcome']
  reason?: string | undefined
  ms: number
}

/**
 * Makes the function that writes a line for each call.
 *
 * @param endpoint the path of the MCP endpoint; undefined for `/mcp`
 */
export function createCallRecorder (audit: AuditTrail, kindOf: ClientKindOf, endpoint?: string) {
  return (call: EndedCall): void => {
    const { request, method, name, outcome, reason, ms } = call
    const { principal } = request
    request.markRecorded?.()
    audit.record({
      event: method as AuditEntry['event'],
      outcome,
      request: request.id,
      trace: messageTraceId(request.headers, request.body) ?? request.traceId,
      address: request.address,
      issuer: principal?.issuer,
      subject: principal?.subject,
      principalKind: principal?.kind === 'service' ? 'service' : undefined,
      client: principal?.clientId,
      kind: kindOf(principal?.clientId),
      endpoint,
      target: name,
      arguments: call.arguments,
      ms: Math.round(ms * 10) / 10,
      reason
    })
  }
}
