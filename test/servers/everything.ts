import type { Method, Params } from '../providers/client.ts'
import type { Plan, RealServer } from './server.ts'

/** Results by request, or the fact that there was an error. */
export type Everything = Record<string, unknown>

type Send = (method: Method, params: Params) => Promise<unknown>

/** How a client names what a server offers. */
export interface Naming {
  name (own: string): string
  uri (own: string): string
}

export const OWN_NAMES: Naming = { name: (own) => own, uri: (own) => own }

/** The names behind Seed. */
export function mountedNames ({ name: mount, plan: { renamed = {} } }: RealServer): Naming {
  return { name: (own) => `${mount}_${renamed[own] ?? own}`, uri: (own) => `${mount}+${own}` }
}

/** Lists, calls, gets, reads and completes all of the plan, and every resource that the server lists itself. */
export async function useEverything (
  send: Send, { tools, prompts = {}, uris = [], completions = [] }: Plan, listed: readonly string[], naming: Naming
): Promise<Everything> {
  const everything: Everything = {}
  const record = async (label: string, method: Method, params: Params): Promise<void> => {
    everything[`${method}${label}`] = await send(method, params).catch(() => 'an error of the server')
  }
  for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'] as const) {
    await record('', method, {})
  }
  for (const [tool, calls] of Object.entries(tools)) {
    for (const args of calls) {
      await record(` ${tool} ${JSON.stringify(args)}`, 'tools/call', { name: naming.name(tool), arguments: args })
    }
  }
  for (const [prompt, args] of Object.entries(prompts)) {
    await record(` ${prompt}`, 'prompts/get', { name: naming.name(prompt), arguments: args })
  }
  for (const uri of [...listed, ...uris]) await record(` ${uri}`, 'resources/read', { uri: naming.uri(uri) })
  for (const { ref, argument } of completions) {
    const named = typeof ref['name'] === 'string'
      ? { ...ref, name: naming.name(ref['name']) }
      : { ...ref, uri: naming.uri(String(ref['uri'])) }
    await record(` ${JSON.stringify(ref)}`, 'completion/complete', { ref: named, argument })
  }
  return everything
}

/** Members that belong to a revision of the protocol or to one connection. */
const OF_THE_PROTOCOL = new Set(['resultType', 'ttlMs', 'cacheScope', 'nextCursor', 'execution'])

/**
 * Returns results in one form, whichever client and server they went through: with the server's own names, and without
 * what languages write down or leave out as they like.
 */
export function normalize (everything: Everything, { name: mount, plan: { renamed = {} } }: RealServer): Everything {
  const own = new Map(Object.entries(renamed).map(([name, given]) => [`${mount}_${given}`, name]))
  const [namePrefix, uriPrefix] = [`${mount}_`, `${mount}+`]

  function simplify (value: unknown, key: string): unknown {
    if (Array.isArray(value)) {
      const all = value.map((one) => simplify(one, '')).filter((one) => one !== undefined)
      return all.length === 0 ? undefined : all
    }
    if (typeof value === 'object' && value !== null) {
      const members = Object.entries(value)
        .filter(([member]) => !OF_THE_PROTOCOL.has(member) && !member.startsWith('io.modelcontextprotocol/'))
        .map(([member, one]) => [member, simplify(one, member)] as const)
        .filter(([, one]) => one !== undefined)
        .sort(([a], [b]) => a < b ? -1 : 1)
      return members.length === 0 ? undefined : Object.fromEntries(members)
    }
    if (value === null || value === false || value === '') return undefined
    if (typeof value !== 'string') return value
    // What server-everything writes into its resources.
    if (key === 'text') return value.replace(/at \d+:\d\d:\d\d [AP]M/, 'at some time')
    if (key === 'name') return own.get(value) ?? without(value, namePrefix)
    return key === 'uri' || key === 'uriTemplate' ? without(value, uriPrefix) : value
  }

  return Object.fromEntries(Object.entries(everything).map(([label, result]) => [label, simplify(result, '')]))
}

function without (text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text
}

/** Returns the same with lists of the one server alone, out of those of all mounts, and without what is refused. */
export function selectOffers (
  everything: Everything, { name: mount, plan: { refused = {} } }: RealServer, isMounted: boolean
): Everything {
  const select = (method: Method, member: string, key: string, prefix: string, left: string[] = []): unknown => {
    const result = everything[method] as Record<string, Array<Record<string, string>>>
    return (result[member] ?? []).filter((item) =>
      isMounted ? item[key]!.startsWith(prefix) : !left.includes(item[key]!))
  }
  return {
    ...everything,
    'tools/list': select('tools/list', 'tools', 'name', `${mount}_`, refused.tools),
    'prompts/list': select('prompts/list', 'prompts', 'name', `${mount}_`, refused.prompts),
    'resources/list': select('resources/list', 'resources', 'uri', `${mount}+`),
    'resources/templates/list': select('resources/templates/list', 'resourceTemplates', 'uriTemplate', `${mount}+`)
  }
}

/** Sorts the lists by the members that name their items. */
export function sortLists (everything: Everything): Everything {
  return Object.fromEntries(Object.entries(everything).map(([label, result]) => [
    label, label.endsWith('/list') && Array.isArray(result) ? result.toSorted(byName) : result
  ]))
}

function byName (a: Record<string, string>, b: Record<string, string>): number {
  return nameOf(a) < nameOf(b) ? -1 : 1
}

function nameOf ({ uri, uriTemplate, name }: Record<string, string>): string {
  return uri ?? uriTemplate ?? name ?? ''
}
