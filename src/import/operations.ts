import { ImportError, isJsonObject } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import { cleanText } from './texts.ts'

/** An operation of a description. */
export interface Operation {
  /** Method and path, by which it is known in messages and between two runs. */
  key: string
  method: Method
  path: string
  id: string | undefined
  tags: readonly string[]
  summary: string
  operation: Json
  /** Members that its path item has for all of its operations. */
  pathItem: Json
}

export type Method = typeof METHODS[number]
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** Selection of operations: those that one of these names. */
export interface Selection {
  tags: readonly string[]
  /** Paths as the description has them; `*` at the end stands for everything that begins so. */
  paths: readonly string[]
  /** Operation ids, or methods with paths: `GET /pets`. */
  operations: readonly string[]
}

/** An operation, or another part of a description, that no tool was made of. */
export interface Refusal {
  key: string
  reason: string
}

/** Lists the operations of a description, in its order. Those that cannot be read are refused. */
export function listOperations (api: ApiDescription): { operations: Operation[], refusals: Refusal[] } {
  const operations: Operation[] = []
  const refusals: Refusal[] = []
  for (const [path, value] of Object.entries((api.document['paths'] ?? {}) as Json)) {
    try {
      const pathItem = api.resolve(value)
      for (const method of METHODS) {
        const operation = pathItem[method.toLowerCase()]
        if (isJsonObject(operation)) operations.push(describeOperation(method, path, operation, pathItem))
      }
    } catch (err) {
      refusals.push({ key: path, reason: (err as ImportError).message })
    }
  }
  return { operations, refusals }
}

function describeOperation (method: Method, path: string, operation: Json, pathItem: Json): Operation {
  const { operationId, tags, summary } = operation
  return {
    key: `${method} ${path}`,
    method,
    path,
    id: typeof operationId === 'string' ? operationId : undefined,
    tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [],
    summary: cleanText(summary ?? operation['description'], 80),
    operation,
    pathItem
  }
}

/** @throws ImportError for a tag, path or operation that the description does not have */
export function selectOperations (operations: readonly Operation[], selection: Selection): Operation[] {
  const chosen = new Set<Operation>()
  const choose = (option: string, value: string, matches: (operation: Operation) => boolean): void => {
    const found = operations.filter(matches)
    if (found.length === 0) throw new ImportError(`${option} ${value} names no operation (--list shows them)`)
    for (const operation of found) chosen.add(operation)
  }
  for (const tag of selection.tags) choose('--tag', tag, ({ tags }) => tags.includes(tag))
  for (const path of selection.paths) {
    choose('--path', path, (operation) => path.endsWith('*')
      ? operation.path.startsWith(path.slice(0, -1))
      : operation.path === path)
  }
  for (const name of selection.operations) choose('--operation', name, ({ id, key }) => id === name || key === name)
  return operations.filter((operation) => chosen.has(operation))
}

export function isEmptySelection ({ tags, paths, operations }: Selection): boolean {
  return tags.length + paths.length + operations.length === 0
}
