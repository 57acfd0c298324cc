import { createResolve } from './resolve.ts'
import type { Resolve, ResolveOptions } from './resolve.ts'

/** The module that module.register runs in a thread of Node's. `initialize` runs before anything is resolved. */
let linked: Resolve

export function initialize (options: ResolveOptions): void {
  linked = createResolve(options)
}

export const resolve: Resolve = (specifier, context, next) => linked(specifier, context, next)
