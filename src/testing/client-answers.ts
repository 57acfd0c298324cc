import type { CreateMessageRequestParams, CreateMessageResult, Root } from '@modelcontextprotocol/server'
import type { ElicitAction } from '../define/context.ts'

/**
 * Answers of the test's client to what handlers ask. The client declares a capability only for what is set, so that a
 * handler cannot ask for anything else.
 */
export interface ClientAnswers {
  /** Answers `elicit` and `elicitUrl` as the person would. */
  elicit?: (question: ElicitQuestion) => ElicitAnswer | Promise<ElicitAnswer>
  /** Answers `sample` as the client's model would. */
  sample?: (params: CreateMessageRequestParams) => CreateMessageResult | Promise<CreateMessageResult>
  /** Roots that `listRoots` returns. */
  roots?: readonly Root[]
}

/** A question to the person. */
export interface ElicitQuestion {
  message: string
  /** The form's JSON Schema, from `elicit`. */
  form?: Record<string, unknown>
  /** The page to open, from `elicitUrl`. */
  url?: string
}

/** The person's answer. */
export interface ElicitAnswer {
  action: ElicitAction
  /** The filled-in form, with `accept`. */
  content?: Record<string, unknown>
}

export function capabilitiesOf ({ elicit, sample, roots }: ClientAnswers): Record<string, object> {
  return {
    ...(elicit !== undefined && { elicitation: { form: {}, url: {} } }),
    ...(sample !== undefined && { sampling: {} }),
    ...(roots !== undefined && { roots: {} })
  }
}

/** Returns the result of a request to the client. The server only asks for what the client declares. */
export async function answerRequest (
  { elicit, sample, roots }: ClientAnswers,
  { method, params }: { method: string, params?: unknown }
): Promise<unknown> {
  if (method === 'roots/list') return { roots }
  if (method === 'sampling/createMessage') return await sample!(params as CreateMessageRequestParams)
  const { message, requestedSchema: form, url } =
    params as { message: string, requestedSchema?: Record<string, unknown>, url?: string }
  return await elicit!({ message, ...(form !== undefined && { form }), ...(url !== undefined && { url }) })
}
