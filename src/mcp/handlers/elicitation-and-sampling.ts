import { ProtocolError, SdkError, SdkErrorCode, inputRequired } from '@modelcontextprotocol/server'
import type { CreateMessageRequestParams, InputRequest, Root } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'
import { Compile } from 'typebox/compile'
import { randomId } from '../../crypto/hash.ts'
import type { ClientInfo, ElicitAction, RequestContext } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import type { ClientChannel } from './client-channel.ts'
import type { Deadline } from './handler-timeout.ts'
import { toRequestedSchema } from './elicitation-schema.ts'
import type { Answers } from './request-state.ts'

/**
 * Asks the client for a person's input, a message of its model, or its roots, and returns its answer. Handlers ask in
 * one way; on the wire there are two: the 2025 revisions send a request on the call's stream (askOnStream), and
 * 2026-07-28 ends the call with what is needed (askInRounds).
 *
 * @param key names the question in 2026-07-28; its number if undefined
 */
export type AskClient = (request: InputRequest, key?: string) => Promise<unknown>

/** The members of a handler's context that ask the client. */
export type ClientInput = Pick<RequestContext, 'elicit' | 'elicitUrl' | 'sample' | 'listRoots'>

/** Thrown through a handler that needs an answer of the client, which only the next round brings. */
export class InputRequiredError extends Error {
  override readonly name = 'InputRequiredError'
}

/**
 * Asks in the 2025 revisions: the call continues when the answer is there.
 *
 * @param timeoutSeconds how long to wait for an answer (INPUT_TIMEOUT_SECONDS); the deadline stands still meanwhile
 */
export function askOnStream (
  channel: ClientChannel,
  client: ClientInfo,
  { deadline, timeoutSeconds }: { deadline: Deadline, timeoutSeconds: number }
): AskClient {
  return async (request) => {
    checkCapability(request, client)
    const { signal } = deadline
    const options = { timeout: timeoutSeconds * 1_000, signal }
    try {
      return await deadline.pause(channel.send(request as { method: 'roots/list' }, options))
    } catch (err) {
      throw signal.aborted ? err : toToolError(err, request, timeoutSeconds)
    }
  }
}

/**
 * Returns a function that asks a client which acts for itself: nobody is there to fill in a form or to allow that a
 * model is used, so the call fails at once instead of waiting for an answer. Its roots are its own.
 */
export function askService (ask: AskClient): AskClient {
  return async (request, key) => {
    if (request.method === 'roots/list') return await ask(request, key)
    throw new ToolError(`This call comes from a service, and needs a person: ${request.method} cannot be answered`)
  }
}

/** Says in words for the model why there is no answer. */
function toToolError (err: unknown, { method }: InputRequest, timeoutSeconds: number): unknown {
  if (err instanceof ProtocolError) return new ToolError(`The client answered with an error: ${err.message}`)
  if (err instanceof SdkError && err.code === SdkErrorCode.RequestTimeout) {
    return new ToolError(`The client did not answer within ${timeoutSeconds} seconds`)
  }
  if (err instanceof SdkError && err.code === SdkErrorCode.InvalidResult) {
    return new ToolError(`The client answered with something other than ${method} asks for`)
  }
  return err
}

/** The questions of one round in 2026-07-28. */
export interface Rounds {
  ask: AskClient
  /** Questions of this round that have no answer yet, by key. */
  readonly missing: Record<string, InputRequest>
}

/** Asks in 2026-07-28: an answer that is missing ends the round. @param answers those of all rounds so far */
export function askInRounds (answers: Answers): Rounds {
  const missing: Record<string, InputRequest> = {}
  let questions = 0
  return {
    missing,
    async ask (request, name) {
      const key = name ?? `input-${++questions}`
      if (Object.hasOwn(answers, key)) return answers[key]
      // What JSON cannot hold fails here, in the handler, instead of when the round is sent.
      missing[key] = JSON.parse(JSON.stringify(request)) as InputRequest
      throw new InputRequiredError(`The client is asked for ${request.method}`)
    }
  }
}

/**
 * Returns the members of a handler's context that ask the client.
 *
 * @param notifyComplete notifies the client that an elicitation by URL is complete; undefined in 2026-07-28, which has
 * no such notification
 */
export function createClientInput (
  ask: AskClient,
  notifyComplete: ((elicitationId: string) => Promise<void>) | undefined
): ClientInput {
  const input: ClientInput = {
    async elicit (message, form, options) {
      const request = inputRequired.elicit({ message, requestedSchema: toRequestedSchema(form) })
      const { action, content } = readElicitation(await ask(request, options?.key))
      return action === 'accept' ? { action, content: checkContent(form, content) as never } : { action }
    },

    async elicitUrl (message, url, options) {
      const elicitationId = randomId()
      const request = inputRequired.elicitUrl({ message, url })
      // The 2025 revision identifies each elicitation; 2026-07-28 does not know the member.
      if (notifyComplete !== undefined) Object.assign(request.params!, { elicitationId })
      const { action } = readElicitation(await ask(request, options?.key))
      return { action, completed: async () => { await notifyComplete?.(elicitationId) } }
    },

    async sample (params: CreateMessageRequestParams, options) {
      const message = await ask(inputRequired.createMessage(params), options?.key)
      const { role, content } = message as { role?: unknown, content?: unknown }
      if (typeof role !== 'string' || typeof content !== 'object') {
        throw new ToolError('The client answered with something other than a message')
      }
      return message as never
    },

    async listRoots (options) {
      const { roots } = await ask(inputRequired.listRoots(), options?.key) as { roots?: unknown }
      if (!Array.isArray(roots)) throw new ToolError('The client answered with something other than roots')
      return roots as Root[]
    }
  }
  return {
    elicit: (...args) => withoutUnhandledRejection(input.elicit(...args)),
    elicitUrl: (...args) => withoutUnhandledRejection(input.elicitUrl(...args)),
    sample: (...args) => withoutUnhandledRejection(input.sample(...args)),
    listRoots: (...args) => withoutUnhandledRejection(input.listRoots(...args))
  }
}

/** A handler that asks twice at once and awaits one after the other must not end the process when both are refused. */
function withoutUnhandledRejection<T> (question: Promise<T>): Promise<T> {
  question.catch(() => {})
  return question
}

function readElicitation (answer: unknown): { action: ElicitAction, content?: unknown } {
  const { action } = answer as { action?: unknown }
  if (action !== 'accept' && action !== 'decline' && action !== 'cancel') {
    throw new ToolError('The client answered with something other than an elicitation result')
  }
  return answer as { action: ElicitAction, content?: unknown }
}

/** Validates a filled-in form: clients are not trusted to have done so. */
function checkContent (form: TObject, content: unknown): unknown {
  if (Compile(form).Check(content)) return content
  throw new ToolError('The client answered with something other than the form asked for')
}

/** @throws ToolError if the client does not declare what a question needs */
export function checkCapability ({ method, params }: InputRequest, { capabilities }: ClientInfo): void {
  const elicitation = capabilities['elicitation'] as { form?: unknown, url?: unknown } | undefined
  const isUrl = (params as { mode?: string } | undefined)?.mode === 'url'
  const isDeclared = {
    // The bare capability means forms, as in revisions before there were two modes.
    'elicitation/create': isUrl
      ? elicitation?.url !== undefined
      : elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined),
    'sampling/createMessage': capabilities['sampling'] !== undefined,
    'roots/list': capabilities['roots'] !== undefined
  }[method]
  if (isDeclared) return
  throw new ToolError(`This client cannot be asked for ${method}: it does not declare the capability`)
}
