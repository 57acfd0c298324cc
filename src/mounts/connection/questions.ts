import { setTimeout as delay } from 'node:timers/promises'
import { ProtocolError, ProtocolErrorCode, isSpecType } from '@modelcontextprotocol/client'
import type { Client, ClientCapabilities, InputRequest } from '@modelcontextprotocol/client'
import type { Caller } from '../caller/caller.ts'
import { checkDepth } from '../transport/limited-fetch.ts'
import { UrlElicitations } from './url-elicitations.ts'

const ROOTS_PAUSE_MS = 1_000

/** Tells whether a question is one of MCP, and leads to no address but one of the web. */
export function isQuestion (question: unknown): question is InputRequest {
  if (isSpecType.CreateMessageRequest(question) || isSpecType.ListRootsRequest(question)) return true
  const { method, params } = Object(question) as { method?: unknown, params?: { mode?: unknown, url?: unknown } }
  if (method !== 'elicitation/create' || params?.mode !== 'url') return isSpecType.ElicitRequest(question)
  // The type is that of the 2025 revisions, which have an id.
  return isSpecType.ElicitRequest({ method, params: { elicitationId: '', ...params } }) &&
    ['https:', 'http:'].includes(new URL(String(params.url)).protocol)
}

/** Who can be asked on a connection. */
export interface Asked {
  /** Returns the caller whose call a question belongs to. */
  findCaller (): Promise<Caller | undefined>
  /** The caller whose connection it is: outside of calls, the client is asked for its roots alone. */
  owner: Caller | undefined
}

/**
 * Has a connection to a server of 2025 answer what that server asks, by asking the client whose call it is.
 *
 * @param capabilities those that the connection declares
 */
export function answerQuestions (client: Client, capabilities: ClientCapabilities, { findCaller, owner }: Asked): void {
  const elicitations = new UrlElicitations()
  elicitations.listen(client)
  const askForRoots = owner?.askOutsideCall && createRootsQuestion(owner.askOutsideCall)
  const answer = async (request: InputRequest): Promise<never> => {
    checkDepth(request)
    const caller = await findCaller()
    if (caller?.askClient === undefined && request.method === 'roots/list' && askForRoots !== undefined) {
      return await askForRoots() as never
    }
    if (caller?.askClient === undefined) throw refuse('There is no call to which the request could belong')
    if (!isQuestion(request)) throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'The URL must be https or http')
    elicitations.asked(request, caller)
    return await caller.askClient(request) as never
  }
  if (capabilities.elicitation !== undefined) client.setRequestHandler('elicitation/create', answer)
  if (capabilities.sampling !== undefined) client.setRequestHandler('sampling/createMessage', answer)
  if (capabilities.roots !== undefined) client.setRequestHandler('roots/list', answer)
  client.fallbackRequestHandler = async () => {
    throw refuse('Seed passes this on for mounts with "connection: session", to clients that declare it')
  }
}

/**
 * Returns what asks for the client's roots outside of calls. Questions at once are put to the client once, and the next
 * one a second after the answer: each answer is a request of the client, which counts for the client's own limits.
 */
function createRootsQuestion (ask: NonNullable<Caller['askOutsideCall']>): () => Promise<unknown> {
  let asking: Promise<unknown> | undefined
  let pause: Promise<unknown> = Promise.resolve()
  return async () => {
    asking ??= pause.then(async () => await ask({ method: 'roots/list' })).finally(() => {
      asking = undefined
      pause = delay(ROOTS_PAUSE_MS, undefined, { ref: false })
    })
    return await asking
  }
}

function refuse (message: string): ProtocolError {
  return new ProtocolError(ProtocolErrorCode.MethodNotFound, message)
}
