import { register } from 'node:module'

/**
 * Extensions import this server by its name; here that is the source under test instead of what was built. Tests run
 * compiled.
 */
const NAMES = {
  'seed-mcp-server': new URL('../../src/index.js', import.meta.url).href,
  'seed-mcp-server/testing': new URL('../../src/testing/index.js', import.meta.url).href
}

register(`data:text/javascript,${encodeURIComponent(`
  const names = ${JSON.stringify(NAMES)}
  export async function resolve (specifier, context, next) {
    return await next(names[specifier] ?? specifier, context)
  }
`)}`)
