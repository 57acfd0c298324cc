import * as nodeModule from 'node:module'
import { createResolve } from './resolve.ts'
import type { Resolve, ResolveOptions } from './resolve.ts'

/** Node's module hooks: `registerHooks` from 22.15 on, `register` before. */
export interface ModuleHooks {
  registerHooks?: (hooks: { resolve: Resolve }) => unknown
  register: (specifier: string, options: { data: ResolveOptions }) => void
}

/** The modules of this server that extensions import. */
const SELF = {
  'seed-mcp-server': moduleUrl('../index'),
  'seed-mcp-server/testing': moduleUrl('../testing/index')
}

/**
 * Makes `import … from 'seed-mcp-server'` resolve to this running server, in every module that is loaded from now on.
 * An extension needs no copy of Seed, and a ToolError that it throws is the class that the server knows.
 *
 * @param reloaded URLs of folders whose files are reloaded in development, each ending with a slash
 */
export function linkExtensions (reloaded: readonly string[] = [], hooks: ModuleHooks = nodeModule): void {
  const options = { self: SELF, reloaded }
  if (hooks.registerHooks !== undefined) hooks.registerHooks({ resolve: createResolve(options) })
  else hooks.register(moduleUrl('../extensions/link-worker'), { data: options })
}

/** Returns the URL of another module of Seed, compiled like this one, or not at all. */
function moduleUrl (path: string): string {
  const ending = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
  return new URL(`${path}${ending}`, import.meta.url).href
}
