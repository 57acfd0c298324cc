import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import { HttpError } from '../errors/http-error.ts'
import { MAX_DEPTH, isDeeperThan } from '../json/depth.ts'

/**
 * Makes a scope accept forms (application/x-www-form-urlencoded) and nothing else. A repeated field parses to an array,
 * which no schema accepts.
 */
export async function acceptFormsOnly (app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers()
  await app.register(formbody)
}

/** Commas, colons and opening brackets: about as many values. A body of 1 MiB may have half a million. */
const MAX_TOKENS = 100_000

export interface JsonBodyOptions {
  /** The most elements of an array that is the whole body. */
  maxBatch?: number
}

/**
 * Makes a scope accept JSON and nothing else, at most MAX_DEPTH levels deep. Bodies of more values than a message ever
 * has are refused before they are parsed, as parsing and validating them would hold the event loop for everybody.
 * Fastify's own parser refuses prototype keys.
 */
export function acceptJsonOnly (app: FastifyInstance, { maxBatch = Infinity }: JsonBodyOptions = {}): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (hasMoreTokens(body as string, MAX_TOKENS)) {
      done(new HttpError(400, 'invalid_request', `The body has more than ${MAX_TOKENS} values`))
      return
    }
    parse(request, body as string, (err, value) => {
      if (err !== null) done(err, undefined)
      else if (Array.isArray(value) && value.length > maxBatch) {
        done(new HttpError(400, 'invalid_request', `A batch must have 1 to ${maxBatch} messages`))
      } else if (isDeeperThan(value, MAX_DEPTH)) {
        done(new HttpError(400, 'invalid_request', `The body is nested deeper than ${MAX_DEPTH} levels`))
      } else {
        done(null, value)
      }
    })
  })
}

/**
 * Makes a scope ignore bodies: a DELETE has none that means anything (RFC 9110 section 9.3.5), yet some clients name a
 * content type without sending one. Node discards what comes.
 */
export function ignoreBodies (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _body, done) => { done(null) })
}

const [QUOTE, BACKSLASH, COMMA, COLON, BRACKET, BRACE] = [...'"\\,:[{'].map((char) => char.charCodeAt(0))

/** Counts outside of strings. Text that is no JSON is counted somehow: the parser refuses it. */
function hasMoreTokens (text: string, max: number): boolean {
  // Few bodies are so long that they need to be looked at.
  if (text.length <= max) return false
  let tokens = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === QUOTE) index = endOfString(text, index)
    else if (code === COMMA || code === COLON || code === BRACKET || code === BRACE) {
      if (++tokens > max) return true
    }
  }
  return false
}

function endOfString (text: string, start: number): number {
  let index = start + 1
  for (let code = text.charCodeAt(index); index < text.length && code !== QUOTE; code = text.charCodeAt(index)) {
    index += code === BACKSLASH ? 2 : 1
  }
  return index
}
