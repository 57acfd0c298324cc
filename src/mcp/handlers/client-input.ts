import type { CreateMessageRequestParams, InputRequest, Root } from '@modelcontextprotocol/server'
import { ProtocolError, SdkError, SdkErrorCode, inputRequired } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'
import { Compile } from 'typebox/compile'
import { randomId } from '../../crypto/keyring.ts'
import type { ClientInfo, ElicitAction, RequestContext } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import type { ClientChannel } from './client-channel.ts'
import type { Deadline } from './deadline.ts'
import { toRequestedSchema } from './elicitation-schema.ts'
import type { Answers } from './request-state.ts'

/**
 * What a tool asks its client for: a person's input, a message of its model, its roots. One way for the tool, two on the
 * wire: the 2025 revisions send a request on the call's stream, 2026-07-28 ends the call with what is needed.
 */
export type AskClient = (request: InputRequest, key?: string) => Promise<unknown>

/** Input is missing that only another round brings; thrown through the handler. */
export class InputRequiredError extends Error {
  override readonly name = 'InputRequiredError'
}

/**
 * The 2025 revisions: the call goes on when the answer is there.
 *
 * @param timeoutSeconds how long to wait for it (INPUT_TIMEOUT_SECONDS)
 */
export function askOnStream (channel: ClientChannel, client: ClientInfo, { deadline, timeoutSeconds }: {
  deadline: Deadline
  timeoutSeconds: number
}): AskClient {
  return async (request) => {
    checkCapability(request, client)
    const { signal } = deadline
    try {
      return await deadline.pause(channel.send(request as { method: 'roots/list' }, { timeout: timeoutSeconds * 1_000, signal }))
    } catch (err) {
      if (signal.aborted) throw err
      if (err instanceof SdkError && err.code === SdkErrorCode.RequestTimeout) throw new ToolError(`The client did not answer within ${timeoutSeconds} seconds`)
      if (err instanceof SdkError && err.code === SdkErrorCode.InvalidResult) throw new ToolError(`The client answered with something other than ${request.method} asks for`)
      if (err instanceof ProtocolError) throw new ToolError(`The client answered with an error: ${err.message}`)
      throw err
    }
  }
}

/** 2026-07-28: answers come with the next round, under the name of the question or its number. */
export interface Rounds {
  ask: AskClient
  /** What this round asked for and has no answer to. */
  readonly missing: Record<string, InputRequest>
}

/** @param answers of this round and those before it */
export function askInRounds (answers: Answers): Rounds {
  const missing: Record<string, InputRequest> = {}
  let questions = 0
  return {
    missing,
    async ask (request, name) {
      const key = name ?? `input-${++questions}`
      if (Object.hasOwn(answers, key)) return answers[key]
      missing[key] = request
      throw new InputRequiredError(`The client is asked for ${request.method}`)
    }
  }
}

/**
 * The members of a tool's context that ask.
 *
 * @param complete tells the client that an elicitation by URL is done; absent in 2026-07-28, which has no such message
 */
export function clientInput (ask: AskClient, complete: ((elicitationId: string) => Promise<void>) | undefined): ClientInput {
  const members: ClientInput = {
    async elicit (message, form, options) {
      const answer = readElicitation(await ask(inputRequired.elicit({ message, requestedSchema: toRequestedSchema(form) }), options?.key))
      if (answer.action !== 'accept') return { action: answer.action }
      return { action: 'accept', content: checkContent(form, answer.content) as never }
    },

    async elicitUrl (message, url, options) {
      const elicitationId = randomId()
      const request = inputRequired.elicitUrl({ message, url })
      // The 2025 revision names each; 2026-07-28 does not know the member.
      if (complete !== undefined) Object.assign(request.params!, { elicitationId })
      const { action } = readElicitation(await ask(request, options?.key))
      return { action, completed: async () => { await complete?.(elicitationId) } }
    },

    async sample (params: CreateMessageRequestParams, options) {
      const answer = await ask(inputRequired.createMessage(params), options?.key) as { role?: unknown, content?: unknown }
      if (typeof answer.role !== 'string' || typeof answer.content !== 'object') throw new ToolError('The client answered with something other than a message')
      return answer as never
    },

    async listRoots (options) {
      const answer = await ask(inputRequired.listRoots(), options?.key) as { roots?: unknown }
      if (!Array.isArray(answer.roots)) throw new ToolError('The client answered with something other than roots')
      return answer.roots as Root[]
    }
  }
  return {
    elicit: (...question) => awaitedLater(members.elicit(...question)),
    elicitUrl: (...question) => awaitedLater(members.elicitUrl(...question)),
    sample: (...question) => awaitedLater(members.sample(...question)),
    listRoots: (...question) => awaitedLater(members.listRoots(...question))
  }
}

export type ClientInput = Pick<RequestContext, 'elicit' | 'elicitUrl' | 'sample' | 'listRoots'>

/** A tool that begins two questions and awaits one after the other must not end the process when both are refused. */
function awaitedLater<T> (question: Promise<T>): Promise<T> {
  question.catch(() => {})
  return question
}

function readElicitation (answer: unknown): { action: ElicitAction, content?: unknown } {
  const { action } = answer as { action?: unknown }
  if (action !== 'accept' && action !== 'decline' && action !== 'cancel') throw new ToolError('The client answered with something other than an elicitation result')
  return answer as { action: ElicitAction, content?: unknown }
}

/** What comes from a client is not trusted to be what was asked for. */
function checkContent (form: TObject, content: unknown): unknown {
  if (!Compile(form).Check(content)) throw new ToolError('The client answered with something other than the form asked for')
  return content
}

function checkCapability ({ method, params }: InputRequest, { capabilities }: ClientInfo): void {
  const elicitation = capabilities['elicitation'] as { form?: unknown, url?: unknown } | undefined
  const able = {
    // Before forms and pages were told apart, the bare capability meant forms.
    'elicitation/create': (params as { mode?: string } | undefined)?.mode === 'url'
      ? elicitation?.url !== undefined
      : elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined),
    'sampling/createMessage': capabilities['sampling'] !== undefined,
    'roots/list': capabilities['roots'] !== undefined
  }[method]
  if (!able) throw new ToolError(`This client cannot be asked for ${method}: it does not declare the capability`)
}
