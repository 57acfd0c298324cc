import { CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, LOG_LEVEL_META_KEY } from '@modelcontextprotocol/server'
import type { LoggingLevel } from '@modelcontextprotocol/server'
import type { ClientInfo } from '../../define/context.ts'

/** The client's description in `_meta` of a 2026-07-28 request, as validated by the SDK. */
export type Envelope = {
  [CLIENT_INFO_META_KEY]?: { name: string, version: string }
  [CLIENT_CAPABILITIES_META_KEY]: Record<string, unknown>
  [LOG_LEVEL_META_KEY]?: LoggingLevel
}

export function toClientInfo (envelope: Envelope): ClientInfo {
  const { [CLIENT_INFO_META_KEY]: info, [CLIENT_CAPABILITIES_META_KEY]: capabilities } = envelope
  return { name: info?.name, version: info?.version, capabilities }
}
