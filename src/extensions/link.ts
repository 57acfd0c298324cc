import * as nodeModule from 'node:module'
import { createResolve } from './resolve.ts'
import type { Resolve, ResolveOptions } from './resolve.ts'

/** What Node has for it: `registerHooks` from 22.15 on, and `register` before. */
export interface ModuleHooks {
  registerHooks?: (hooks: { resolve: Resolve }) => unknown
  register: (specifier: string, options: { data: ResolveOptions }) => void
}

/** Beside this file, compiled as it is. */
const beside = (path: string): string => new URL(`${path}${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url).href

/** What extensions import from this server. */
const SELF = {
  'seed-mcp-server': beside('../index'),
  'seed-mcp-server/testing': beside('../testing/index')
}

/**
 * From now on, `import … from 'seed-mcp-server'` gives the modules of this very server, wherever it is written: an
 * extension needs no copy of Seed, and a ToolError that it throws is the one that the server knows.
 *
 * @param reloaded folders whose files are loaded again when they are saved, for development
 */
export function linkExtensions (reloaded: readonly string[] = [], hooks: ModuleHooks = nodeModule): void {
  const options = { self: SELF, reloaded }
  if (hooks.registerHooks !== undefined) hooks.registerHooks({ resolve: createResolve(options) })
  else hooks.register(beside('../extensions/link-worker'), { data: options })
}
