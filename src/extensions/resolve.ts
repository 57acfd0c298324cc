import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/**
 * How imports of extensions are resolved, besides as Node does. This runs in the server, or in the thread that Node keeps
 * for it (link-worker.ts), so it depends on what it is handed alone.
 */
export interface ResolveOptions {
  /** The modules of this server that extensions import: its names, and where they are. */
  self: Readonly<Record<string, string>>
  /** URLs of folders whose files are loaded again when they are saved, each ending with a slash. */
  reloaded: readonly string[]
}

export interface ResolveContext {
  parentURL?: string | undefined
}

export interface Resolved {
  url: string
  shortCircuit?: boolean
}

/** Works on what `next` gives, be it a promise (a hook of module.register) or not (module.registerHooks). */
export type Resolve = <Context extends ResolveContext, Result extends Resolved | Promise<Resolved>>(specifier: string, context: Context, next: (specifier: string, context: Context) => Result) => Result | Resolved

const PACKAGE_SCHEME = 'seed-extension:'
const VERSION = 'seed-version'

/** Of a package that is looked for from a folder, and not from the file that imports it. */
export function packageSpecifier (name: string, from: string): string {
  return `${PACKAGE_SCHEME}${name}?${encodeURIComponent(pathToFileURL(join(from, 'package.json')).href)}`
}

/** The same file as another module. */
export function versioned (url: string, version: string | number): string {
  return `${url}?${VERSION}=${version}`
}

export function createResolve ({ self, reloaded }: ResolveOptions): Resolve {
  function inherit (resolved: Resolved, parentUrl: string | undefined): Resolved {
    const version = parentUrl === undefined || !URL.canParse(parentUrl) ? null : new URL(parentUrl).searchParams.get(VERSION)
    const again = version !== null && !resolved.url.includes('?') && !resolved.url.includes('/node_modules/') && reloaded.some((folder) => resolved.url.startsWith(folder))
    return again ? { ...resolved, url: versioned(resolved.url, version) } : resolved
  }

  return function resolve (specifier, context, next) {
    const own = self[specifier]
    if (own !== undefined) return { url: own, shortCircuit: true }
    if (specifier.startsWith(PACKAGE_SCHEME)) {
      const [name, from] = specifier.slice(PACKAGE_SCHEME.length).split('?') as [string, string]
      return next(name, { ...context, parentURL: decodeURIComponent(from) })
    }
    const resolved = next(specifier, context)
    return (resolved instanceof Promise ? resolved.then((found) => inherit(found, context.parentURL)) : inherit(resolved, context.parentURL)) as typeof resolved
  }
}
