import { Type } from 'typebox'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { AnyName } from '../../json/member-names.ts'
import { describeValidationError } from '../../json/validation-message.ts'

/**
 * Checks the `params` of the requests that clients send (JSON-RPC 2.0 section 5.1) before the SDK parses them, which
 * would report wrong ones as an internal error, with the validator's own text.
 */

/** JSON-RPC 2.0 section 5.1. */
export const INVALID_PARAMS = -32602

const AnyObject = Type.Object({}, { additionalProperties: true })
const List = Type.Object({ cursor: Type.Optional(Type.String()) })
const Resource = Type.Object({ uri: Type.String() })

/** Methods that 2026-07-28 does not have. */
const SESSION_SCHEMAS: Record<string, TSchema> = {
  initialize: Type.Object({
    protocolVersion: Type.String(),
    capabilities: AnyObject,
    clientInfo: Type.Object({ name: Type.String(), version: Type.String() })
  }),
  'logging/setLevel': Type.Object({ level: Type.String() }),
  'resources/subscribe': Resource,
  'resources/unsubscribe': Resource
}

const SCHEMAS: Record<string, TSchema> = {
  'tools/list': List,
  'tools/call': Type.Object({ name: Type.String(), arguments: Type.Optional(AnyObject) }),
  'prompts/list': List,
  'prompts/get': Type.Object({
    name: Type.String(), arguments: Type.Optional(Type.Record(AnyName, Type.String()))
  }),
  'resources/list': List,
  'resources/templates/list': List,
  'resources/read': Resource,
  'completion/complete': Type.Object({
    ref: AnyObject, argument: Type.Object({ name: Type.String(), value: Type.String() })
  })
}
const CHECKS = compileAll(SCHEMAS)
const SESSION_CHECKS = compileAll(SESSION_SCHEMAS)

/** Members that some clients send as null where they have none (params, and members of params). */
const NULLABLE = ['cursor', 'arguments', '_meta']

/**
 * Deletes members that are null from a parsed message where the protocol allows them to be absent: `params`, and in it
 * `cursor`, `arguments`, `_meta` and `_meta.progressToken`.
 */
export function deleteNullParams (message: unknown): void {
  if (!isObject(message)) return
  if (message['params'] === null) delete message['params']
  const { params } = message
  if (!isObject(params)) return
  for (const name of NULLABLE) if (params[name] === null) delete params[name]
  if (isObject(params['_meta']) && params['_meta']['progressToken'] === null) delete params['_meta']['progressToken']
}

/**
 * Returns a sentence about what is wrong with the params of a request; undefined if nothing is, or for no request.
 *
 * @param isLegacy false for 2026-07-28, whose requests without `_meta` the SDK refuses
 */
export function describeInvalidParams (message: unknown, isLegacy: boolean): string | undefined {
  // Anything else wrong with it is the SDK's to say.
  if (!isObject(message) || message['jsonrpc'] !== '2.0' || !isId(message['id'])) return undefined
  const method = message['method'] as string
  const check = CHECKS.get(method) ?? (isLegacy ? SESSION_CHECKS.get(method) : undefined)
  // A list needs no params.
  const { params = {} } = message
  if (check === undefined || check.Check(params)) return undefined
  if (!isLegacy && !(isObject(params) && isObject(params['_meta']))) return undefined
  return `Invalid params: ${describeValidationError(check, params)}`
}

function compileAll (schemas: Record<string, TSchema>) {
  return new Map(Object.entries(schemas).map(([method, schema]) => [method, Compile(schema)]))
}

function isId (id: unknown): boolean {
  return typeof id === 'string' || typeof id === 'number'
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
