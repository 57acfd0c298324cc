import {
  CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY, classifyInboundRequest
} from '@modelcontextprotocol/server'
import type { RequestId } from '@modelcontextprotocol/server'
import { LRUCache } from 'lru-cache'
import type { McpRequest } from '../exchange.ts'
import type { Envelope } from '../handlers/envelope.ts'
import { MODERN_REVISION, SESSION_REVISIONS } from '../revisions.ts'

/**
 * A `tools/call` or `tools/list` with the members that every client sends and no others, alone, and with headers that
 * say the same. Every other request, invalid ones included, is the SDK's: nothing is refused here.
 */
export interface PlainRequest {
  id: RequestId
  method: 'tools/call' | 'tools/list'
  /** The tool; empty for a list. */
  name: string
  arguments: Record<string, unknown>
  /** The `_meta` of a 2026-07-28 request; undefined in a session. */
  envelope: Envelope | undefined
}

const MAX_ID_LENGTH = 256
const MAX_META_LENGTH = 4_096
const MAX_VALID_METAS = 1_000
const META_KEYS = [PROTOCOL_VERSION_META_KEY, CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY]
const SESSION_REVISION_SET: ReadonlySet<unknown> = new Set(SESSION_REVISIONS)
const NO_PARAMS: Record<string, unknown> = Object.freeze({})

/** @returns a function that reads a request, and gives undefined where it is not plain */
export function createPlainRequestReader (): (request: McpRequest) => PlainRequest | undefined {
  const isValidMeta = createMetaCheck()

  return function readPlainRequest ({ method: httpMethod, headers, body }) {
    if (httpMethod !== 'POST' || !isJson(headers['content-type']) || !isObject(body)) return undefined
    const { jsonrpc, id, method, params } = body
    if (jsonrpc !== '2.0' || !isId(id) || (method !== 'tools/call' && method !== 'tools/list')) return undefined
    const isCall = method === 'tools/call'
    const isModern = headers['mcp-protocol-version'] === MODERN_REVISION
    if (params === undefined) {
      // Only the list of a session needs no params.
      if (isCall || isModern || countMembers(body) !== 3) return undefined
    } else if (!isObject(params) || countMembers(body) !== 4 || !hasPlainMembers(params, isCall, isModern)) {
      return undefined
    }
    const { name, arguments: args = {}, _meta: meta } = params ?? NO_PARAMS
    if (isModern) {
      if (!hasModernHeaders(headers, method, name) || !isObject(meta) || !isValidMeta(meta)) return undefined
    } else if (!hasSessionHeaders(headers)) {
      return undefined
    }
    return {
      id,
      method,
      name: isCall ? name as string : '',
      arguments: args as Record<string, unknown>,
      envelope: isModern ? meta as Envelope : undefined
    }
  }
}

/** Validates envelopes. The SDK's verdict depends on the envelope alone, so each distinct one is validated once. */
function createMetaCheck (): (meta: Record<string, unknown>) => boolean {
  const validMetas = new LRUCache<string, true>({ max: MAX_VALID_METAS })
  const validClients = new LRUCache<string, true>({ max: MAX_VALID_METAS })

  function isValidText (meta: Record<string, unknown>): boolean {
    const text = JSON.stringify(meta)
    if (validMetas.peek(text) === true) return true
    if (text.length > MAX_META_LENGTH || !hasOnly(meta, META_KEYS)) return false
    if (meta[PROTOCOL_VERSION_META_KEY] !== MODERN_REVISION) return false
    const classified = classifyInboundRequest({
      httpMethod: 'POST',
      protocolVersionHeader: MODERN_REVISION,
      mcpMethodHeader: 'tools/list',
      body: { jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: meta } }
    })
    if (classified.kind !== 'modern' || classified.messageKind !== 'request') return false
    validMetas.set(text, true)
    return true
  }

  return function isValidMeta (meta) {
    const client = describeSimpleClient(meta)
    if (client !== undefined && validClients.peek(client) === true) return true
    const isValid = isValidText(meta)
    if (isValid && client !== undefined) validClients.set(client, true)
    return isValid
  }
}

/** Identifies an envelope with a client's name and version and no capabilities, more cheaply than JSON.stringify. */
function describeSimpleClient (meta: Record<string, unknown>): string | undefined {
  if (countMembers(meta) !== 3 || meta[PROTOCOL_VERSION_META_KEY] !== MODERN_REVISION) return undefined
  const capabilities = meta[CLIENT_CAPABILITIES_META_KEY]
  if (!isObject(capabilities) || countMembers(capabilities) !== 0) return undefined
  const info = meta[CLIENT_INFO_META_KEY]
  if (!isObject(info) || countMembers(info) !== 2) return undefined
  const { name, version } = info
  return typeof name === 'string' && typeof version === 'string' ? `${name.length} ${name} ${version}` : undefined
}

function hasPlainMembers (params: Record<string, unknown>, isCall: boolean, isModern: boolean): boolean {
  const metaMembers = isModern ? 1 : 0
  if (!isCall) return params['name'] === undefined && !('arguments' in params) && countMembers(params) === metaMembers
  if (typeof params['name'] !== 'string') return false
  if (!('arguments' in params)) return countMembers(params) === 1 + metaMembers
  return isObject(params['arguments']) && countMembers(params) === 2 + metaMembers
}

function hasModernHeaders (headers: McpRequest['headers'], method: string, name: unknown): boolean {
  return headers['mcp-method'] === method && headers['mcp-name'] === name && headers['mcp-session-id'] === undefined
}

function hasSessionHeaders (headers: McpRequest['headers']): boolean {
  const revision = headers['mcp-protocol-version']
  return (revision === undefined || SESSION_REVISION_SET.has(revision)) &&
    typeof headers['mcp-session-id'] === 'string' &&
    headers['mcp-method'] === undefined && headers['mcp-name'] === undefined
}

function isJson (contentType: unknown): boolean {
  return contentType === 'application/json' || contentType === 'application/json; charset=utf-8'
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isId (id: unknown): id is RequestId {
  return typeof id === 'string' ? id.length <= MAX_ID_LENGTH : Number.isSafeInteger(id)
}

function hasOnly (value: object, keys: readonly string[]): boolean {
  return Object.keys(value).every((key) => keys.includes(key))
}

/** The number of an object's members, without an array of their names. With all known ones counted, it shows others. */
export function countMembers (value: object): number {
  let members = 0
  for (const name in value) if (name in value) members++
  return members
}
