import { request } from 'node:http'
import { createRequire } from 'node:module'

/**
 * Preloaded into the conformance suite, which knows no option for a token: adds CONFORMANCE_TOKEN to whatever it sends,
 * through fetch and through node:http.
 */
const bearer = `Bearer ${process.env.CONFORMANCE_TOKEN}`
const http = createRequire(import.meta.url)('node:http')

http.request = (...args) => {
  const sent = request(...args)
  if (!sent.headersSent && !sent.hasHeader('authorization')) sent.setHeader('authorization', bearer)
  return sent
}

const DISPATCHER = Symbol.for('undici.globalDispatcher.1')
// Node makes it when fetch is first used.
await fetch('data:,')
const { [DISPATCHER]: dispatcher } = globalThis
globalThis[DISPATCHER] = dispatcher.compose(
  (dispatch) => (options, handler) => dispatch({ ...options, headers: withBearer(options.headers) }, handler)
)

function withBearer (headers) {
  if (Array.isArray(headers)) return [...headers, 'authorization', bearer]
  if (headers !== undefined && headers !== null && typeof headers[Symbol.iterator] === 'function') {
    return [...headers, ['authorization', bearer]].flat()
  }
  return { ...headers, authorization: bearer }
}
