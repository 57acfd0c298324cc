import type { CreateMessageRequestParams, CreateMessageResult, Root } from '@modelcontextprotocol/server'
import type { ElicitAction } from '../define/context.ts'

/** How the client of a test answers what tools ask of it. What is absent, it does not declare: then tools cannot ask. */
export interface Answering {
  /** Plays the person: fills in a form (`form` is its JSON Schema), or goes to a page (`url`). */
  elicit?: (question: ElicitQuestion) => ElicitAnswer | Promise<ElicitAnswer>
  /** Plays the model. */
  sample?: (params: CreateMessageRequestParams) => CreateMessageResult | Promise<CreateMessageResult>
  /** The folders that the client works on. */
  roots?: readonly Root[]
}

export interface ElicitQuestion {
  message: string
  form?: Record<string, unknown>
  url?: string
}

export interface ElicitAnswer {
  action: ElicitAction
  content?: Record<string, unknown>
}

export function capabilitiesOf ({ elicit, sample, roots }: Answering): Record<string, object> {
  return {
    ...(elicit !== undefined && { elicitation: { form: {}, url: {} } }),
    ...(sample !== undefined && { sampling: {} }),
    ...(roots !== undefined && { roots: {} })
  }
}

/** The result of a request to the client; only what was declared is asked for. */
export async function answer ({ elicit, sample, roots }: Answering, { method, params }: { method: string, params?: unknown }): Promise<unknown> {
  if (method === 'roots/list') return { roots }
  if (method === 'sampling/createMessage') return await sample!(params as CreateMessageRequestParams)
  const { message, requestedSchema: form, url } = params as { message: string, requestedSchema?: Record<string, unknown>, url?: string }
  return await elicit!({ message, ...(form !== undefined && { form }), ...(url !== undefined && { url }) })
}
