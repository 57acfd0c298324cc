import { CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, SUPPORTED_PROTOCOL_VERSIONS, classifyInboundRequest } from '@modelcontextprotocol/server'
import type { RequestId } from '@modelcontextprotocol/server'
import type { McpRequest } from '../exchange.ts'
import type { Envelope } from '../handlers/envelope.ts'
import { countMembers } from './count-members.ts'

/**
 * Which requests are plain: a `tools/call` or `tools/list` that has the members every client sends and no other, alone,
 * with headers that say the same. Whatever else there is, errors included, is the SDK's. Nothing here refuses anything.
 */
export interface PlainRequest {
  id: RequestId
  method: 'tools/call' | 'tools/list'
  /** Of the tool; empty for a list. */
  name: string
  arguments: Record<string, unknown>
  /** Of 2026-07-28; undefined for a request of a session. */
  envelope: Envelope | undefined
}

const MODERN = '2026-07-28'
const SESSION_VERSIONS = new Set(SUPPORTED_PROTOCOL_VERSIONS.filter((version) => version < '2026'))
const MAX_ID = 256
const MAX_META = 4_096
const MAX_METAS = 1_000
const META_KEYS = ['io.modelcontextprotocol/protocolVersion', CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY]

/** @returns what tells plain requests from others; it remembers which `_meta` the SDK has found good */
export function createPlainRequests (): (exchange: McpRequest) => PlainRequest | undefined {
  const goodMetas = new Set<string>()
  /** Clients that say nothing of themselves but name and version, and no capability. */
  const goodClients = new Set<string>()

  /** The SDK's judgement of an envelope depends on nothing but the envelope, so it is asked once for each text. */
  function isGoodMeta (meta: Record<string, unknown>): boolean {
    const client = plainClient(meta)
    if (client !== undefined && goodClients.has(client)) return true
    const isGood = isGoodText(meta)
    if (isGood && client !== undefined) remember(goodClients, client)
    return isGood
  }

  function isGoodText (meta: Record<string, unknown>): boolean {
    const text = JSON.stringify(meta)
    if (goodMetas.has(text)) return true
    if (text.length > MAX_META || !hasOnly(meta, META_KEYS) || meta[META_KEYS[0]!] !== MODERN) return false
    const judged = classifyInboundRequest({
      httpMethod: 'POST',
      protocolVersionHeader: MODERN,
      mcpMethodHeader: 'tools/list',
      body: { jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: meta } }
    })
    if (judged.kind !== 'modern' || judged.messageKind !== 'request') return false
    remember(goodMetas, text)
    return true
  }

  return ({ method: httpMethod, headers, body }) => {
    if (httpMethod !== 'POST' || !isJson(headers['content-type']) || !isObject(body)) return undefined
    const { jsonrpc, id, method, params } = body
    if (jsonrpc !== '2.0' || !isId(id) || (method !== 'tools/call' && method !== 'tools/list')) return undefined
    const calls = method === 'tools/call'
    const isModern = headers['mcp-protocol-version'] === MODERN
    // A list in a session may do without.
    if (params === undefined ? calls || isModern || countMembers(body) !== 3 : !isObject(params) || countMembers(body) !== 4) return undefined
    const { name, arguments: given = {}, _meta: meta } = (params ?? {}) as Record<string, unknown>
    if (calls ? typeof name !== 'string' || !isObject(given) : name !== undefined || 'arguments' in (params as object ?? {})) return undefined
    const known = (calls ? 1 : 0) + (calls && 'arguments' in (params as object) ? 1 : 0) + (isModern ? 1 : 0)
    if (params !== undefined && countMembers(params as object) !== known) return undefined
    if (isModern) {
      if (headers['mcp-method'] !== method || headers['mcp-name'] !== name || headers['mcp-session-id'] !== undefined) return undefined
      if (!isObject(meta) || !isGoodMeta(meta)) return undefined
    } else {
      const version = headers['mcp-protocol-version']
      if (version !== undefined && !SESSION_VERSIONS.has(version as string)) return undefined
      if (typeof headers['mcp-session-id'] !== 'string' || headers['mcp-method'] !== undefined || headers['mcp-name'] !== undefined) return undefined
    }
    return { id, method, name: calls ? name as string : '', arguments: given as Record<string, unknown>, envelope: isModern ? meta as Envelope : undefined }
  }
}

function remember (good: Set<string>, text: string): void {
  if (good.size >= MAX_METAS) good.clear()
  good.add(text)
}

/** Of an envelope that says no more: writing it down again would cost more than all else that is looked at. */
function plainClient (meta: Record<string, unknown>): string | undefined {
  const capabilities = meta[CLIENT_CAPABILITIES_META_KEY]
  const info = meta[CLIENT_INFO_META_KEY]
  if (countMembers(meta) !== 3 || meta[META_KEYS[0]!] !== MODERN || !isObject(capabilities) || countMembers(capabilities) !== 0 || !isObject(info) || countMembers(info) !== 2) return undefined
  const { name, version } = info
  return typeof name === 'string' && typeof version === 'string' ? `${name.length} ${name} ${version}` : undefined
}

function isJson (contentType: unknown): boolean {
  return contentType === 'application/json' || contentType === 'application/json; charset=utf-8'
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isId (id: unknown): id is RequestId {
  return typeof id === 'string' ? id.length <= MAX_ID : Number.isSafeInteger(id)
}

function hasOnly (value: object, keys: readonly string[]): boolean {
  return Object.keys(value).every((key) => keys.includes(key))
}
