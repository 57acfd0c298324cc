import type { InputRequest, JSONRPCMessage } from '@modelcontextprotocol/server'
import { ToolError } from '../../define/tool.ts'
import type { ClientRequests } from '../cluster/client-requests.ts'
import type { Session } from '../sessions/session.ts'

export interface SessionQuestionsOptions {
  clientRequests: Pick<ClientRequests, 'create' | 'discard'>
  /** Queues a message for the session's standalone streams. @throws StoreUnavailableError */
  queue (session: Session, message: JSONRPCMessage): Promise<void>
  timeoutMs: number
}

/** Asks the client of a session outside of any call, and returns the result of its answer. */
export type AskSession = (session: Session, request: InputRequest) => Promise<unknown>

/**
 * Returns a function that asks clients on the standalone streams of their sessions, at whichever replica those are.
 *
 * @throws ToolError if there is no answer in time, or it is an error; StoreUnavailableError
 */
export function createSessionQuestions ({ clientRequests, queue, timeoutMs }: SessionQuestionsOptions): AskSession {
  return async (session, request) => {
    let timer: NodeJS.Timeout | undefined
    let id = ''
    const answered = new Promise<unknown>((resolve, reject) => {
      const onLate = (): void => { reject(new ToolError('The client did not answer in time')) }
      timer = setTimeout(onLate, timeoutMs)
      id = clientRequests.create(session.digest, (response) => {
        if ('result' in response) resolve(response.result)
        else reject(new ToolError(`The client answered with an error: ${response.error.message}`))
      })
    })
    try {
      const message = { jsonrpc: '2.0', id, ...request } as JSONRPCMessage
      const [result] = await Promise.all([answered, queue(session, message)])
      return result
    } finally {
      clearTimeout(timer)
      clientRequests.discard(id)
    }
  }
}
