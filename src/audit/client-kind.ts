import type { Config } from '../config/config.ts'
import type { AuditRecord } from './record.ts'

/** Returns the kind of a client by its id alone; undefined if it cannot be known. */
export type ClientKindOf = (clientId: string | undefined) => AuditRecord['kind']

/** In proxy mode access tokens name Seed's own client at the provider, which says nothing about the MCP client. */
export function clientKindOf ({ oauth: { mode, configuredClients, trustedIssuers } }: Config): ClientKindOf {
  const workloads = trustedIssuers.flatMap(({ rules }) => rules.map(({ service }) => service))
  const configured = new Set([...configuredClients.map(({ id }) => id), ...workloads])
  return (clientId) => {
    if (clientId === undefined || mode === 'proxy') return undefined
    if (configured.has(clientId)) return 'configured'
    if (clientId.startsWith('https://') || clientId.startsWith('http://')) return 'document'
    return clientId.startsWith('seed-') ? 'registered' : 'unregistered'
  }
}
