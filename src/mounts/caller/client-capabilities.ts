import type { ClientCapabilities } from '@modelcontextprotocol/client'
import type { RequestContext } from '../../define/context.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'

/**
 * What some client may declare. The connection that fetches the lists declares it where each session has a connection
 * of its own, as servers of 2025 may offer tools only to those who can be asked.
 */
export const ALL_CAPABILITIES: ClientCapabilities = {
  elicitation: { form: {}, url: {} }, sampling: { context: {}, tools: {} }, roots: {}
}

/**
 * Returns the capabilities of the calling client as Seed declares them to a mounted server, so that nothing is asked
 * that the client cannot answer. Nobody is there to answer for a service; its roots are its own.
 */
export function passedCapabilities (
  { principal, client, session }: Pick<RequestContext, 'principal'> & Partial<RunContext>
): ClientCapabilities {
  const capabilities = (client ?? session)?.capabilities ?? {}
  const { elicitation, sampling, roots } = capabilities as Record<string, object | undefined>
  const isService = principal?.kind === 'service'
  return {
    ...(elicitation !== undefined && !isService && { elicitation: named(elicitation, ['form', 'url']) }),
    ...(sampling !== undefined && !isService && { sampling: named(sampling, ['context', 'tools']) }),
    ...(roots !== undefined && { roots: {} })
  }
}

/** Returns the same for a connection to a server of 2025, which belongs to one session and hears of changed roots. */
export function sessionCapabilities (caller: Parameters<typeof passedCapabilities>[0]): ClientCapabilities {
  const capabilities = passedCapabilities(caller)
  const roots = caller.session?.capabilities['roots'] as { listChanged?: unknown } | undefined
  return roots?.listChanged === true ? { ...capabilities, roots: { listChanged: true } } : capabilities
}

function named (capability: object, names: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(names.filter((name) => name in capability).map((name) => [name, {}]))
}
