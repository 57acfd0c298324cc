import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/**
 * Resolves the imports of extensions, for Node's module hooks. It may run in a thread of Node's (link-worker.ts), so it
 * uses nothing but its options.
 */
export interface ResolveOptions {
  /** Modules of this server that extensions import: name → URL. */
  self: Readonly<Record<string, string>>
  /** URLs of folders whose files are reloaded in development, each ending with a slash. */
  reloaded: readonly string[]
}

export interface ResolveContext {
  parentURL?: string | undefined
}

export interface Resolved {
  url: string
  shortCircuit?: boolean
}

/** A `resolve` hook. It is asynchronous if `next` is: with module.register, but not with module.registerHooks. */
export type Resolve = <Context extends ResolveContext, Result extends Resolved | Promise<Resolved>> (
  specifier: string,
  context: Context,
  next: (specifier: string, context: Context) => Result
) => Result | Resolved

const PACKAGE_SCHEME = 'seed-extension:'
const VERSION_PARAM = 'seed-version'

/** Returns the specifier of a package that is resolved from a folder, instead of from the importing file. */
export function packageSpecifier (name: string, from: string): string {
  return `${PACKAGE_SCHEME}${name}?${encodeURIComponent(pathToFileURL(join(from, 'package.json')).href)}`
}

/** Returns a URL under which Node loads the same file as a new module. */
export function versionedUrl (url: string, version: string | number): string {
  return `${url}?${VERSION_PARAM}=${version}`
}

export function createResolve ({ self, reloaded }: ResolveOptions): Resolve {
  /** Gives a reloaded module's own imports its version too, so that files that others import are reloaded as well. */
  function inheritVersion (resolved: Resolved, parentUrl: string | undefined): Resolved {
    const version = versionOf(parentUrl)
    const { url } = resolved
    const isReloaded = version !== null && !url.includes('?') && !url.includes('/node_modules/') &&
      reloaded.some((folder) => url.startsWith(folder))
    return isReloaded ? { ...resolved, url: versionedUrl(url, version) } : resolved
  }

  return function resolve (specifier, context, next) {
    const own = self[specifier]
    if (own !== undefined) return { url: own, shortCircuit: true }
    if (specifier.startsWith(PACKAGE_SCHEME)) {
      const [name, from] = specifier.slice(PACKAGE_SCHEME.length).split('?') as [string, string]
      return next(name, { ...context, parentURL: decodeURIComponent(from) })
    }
    const resolved = next(specifier, context)
    return (resolved instanceof Promise
      ? resolved.then((found) => inheritVersion(found, context.parentURL))
      : inheritVersion(resolved, context.parentURL)) as typeof resolved
  }
}

function versionOf (url: string | undefined): string | null {
  return url === undefined || !URL.canParse(url) ? null : new URL(url).searchParams.get(VERSION_PARAM)
}
