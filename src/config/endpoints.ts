import type { AccessEntry, EndpointEntry, EndpointsFile } from './endpoint-schema.ts'
import { problem } from './problem.ts'
import type { Problem } from './problem.ts'
import type { Selection, ToolSelection } from './selection-schema.ts'

export type { Selection } from './selection-schema.ts'

/** The names of an MCP endpoint for clients, models and people. */
export interface EndpointNames {
  name: string
  title: string | undefined
  description: string | undefined
  /** For the model. */
  instructions: string | undefined
}

/** Rules for who may use an endpoint. Empty ones admit everybody. */
export interface EndpointAccess {
  groups: readonly string[]
  /** In lower case. */
  emailDomains: readonly string[]
  /** In lower case. */
  hostedDomains: readonly string[]
  /** Each must have one of its values. */
  claims: ReadonlyArray<{ claim: string, values: readonly string[] }>
}

/** An MCP endpoint: a resource of its own, with its own offers. */
export interface Endpoint {
  /** Its name in the file of SEED_ENDPOINTS; undefined for `/mcp`. */
  name: string | undefined
  /** The path of its route, without the path of BASE_URL: `/mcp` or `/mcp/sales`. */
  path: string
  /** The resource identifier (RFC 8707), which is also its URL and the `aud` of its access tokens. */
  resource: string
  /** Scopes that clients ask for unless a challenge names others. */
  scopes: readonly string[]
  /** Rules besides those of the ACCESS_ settings. */
  access: EndpointAccess
  server: EndpointNames
  /** Which of all definitions it offers, by the names under which they are offered. */
  selection: {
    /** Mounted servers, by name. */
    mounts: Selection
    tools: ToolSelection
    prompts: Selection
    resources: Selection
  }
}

/** Settings that endpoints inherit. */
export interface EndpointDefaults {
  baseUrl: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** SERVER_NAME and so on. */
  server: EndpointNames
}

/** Returns all MCP endpoints: `/mcp`, then those of the file, sorted by name. */
export function toEndpoints ({ main = {}, endpoints = {} }: EndpointsFile, defaults: EndpointDefaults): Endpoint[] {
  const { baseUrl, scopes, server } = defaults
  const further = Object.entries(endpoints).sort(([a], [b]) => a < b ? -1 : 1)
  const named = [...new Set(further.flatMap(([, { mounts }]) => Array.isArray(mounts) ? mounts : []))]
  const first: Endpoint = {
    name: undefined,
    path: '/mcp',
    resource: `${baseUrl}/mcp`,
    scopes,
    access: toAccess(main.access),
    server,
    selection: toSelection(main, { deny: named })
  }
  return [first, ...further.map(([name, entry]) => toFurtherEndpoint(name, entry, defaults))]
}

function toFurtherEndpoint (
  name: string, entry: EndpointEntry, { baseUrl, scopes, server }: EndpointDefaults
): Endpoint {
  return {
    name,
    path: `/mcp/${name}`,
    resource: `${baseUrl}/mcp/${name}`,
    scopes: entry.scopes ?? scopes,
    access: toAccess(entry.access),
    // The description and the instructions of /mcp are about other tools.
    server: {
      name: entry.name ?? `${server.name}-${name}`,
      title: entry.title ?? `${server.title ?? 'Seed'}: ${name}`,
      description: entry.description,
      instructions: entry.instructions
    },
    selection: toSelection(entry, false)
  }
}

function toSelection (
  { mounts, tools = true, prompts = true, resources = true }: Pick<EndpointEntry, keyof Endpoint['selection']>,
  defaultMounts: Selection
): Endpoint['selection'] {
  return { mounts: Array.isArray(mounts) ? { allow: mounts } : mounts ?? defaultMounts, tools, prompts, resources }
}

function toAccess (entry: AccessEntry = {}): EndpointAccess {
  const { groups = [], emailDomains = [], hostedDomains = [], claims = {} } = entry
  return {
    groups,
    emailDomains: emailDomains.map(toDomain),
    hostedDomains: hostedDomains.map(toDomain),
    claims: Object.entries(claims).map(([claim, values]) => ({ claim, values: [values].flat().map(String) }))
  }
}

/** Whether an endpoint has access rules of its own. */
export function hasAccessRules ({ access }: Endpoint): boolean {
  return Object.values(access).some((rules: readonly unknown[]) => rules.length > 0)
}

/** Finds mounted servers that an endpoint names and that do not exist. */
export function findUnknownMounts (endpoints: readonly Endpoint[], mounts: readonly string[]): Problem[] {
  return endpoints.flatMap(({ path, selection }) => {
    const { allow = [] } = typeof selection.mounts === 'object' ? selection.mounts : {}
    return allow.filter((name) => !mounts.includes(name)).map((name) =>
      problem('SEED_ENDPOINTS',
        `names the mount "${name}" for ${path}, which neither SEED_MOUNTS nor an extension has`))
  })
}

/** Returns a domain in lower case; `@example.com` is understood as `example.com`. */
export function toDomain (domain: string): string {
  return domain.toLowerCase().replace(/^@/, '')
}
