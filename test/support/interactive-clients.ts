import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ElicitationCompleteNotificationSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { Test } from 'tap'
import type { Replicas } from './replicas.ts'

/** Clients of both SDKs that answer whatever a tool asks of them. */

const info = { name: 'interactive-client', version: '1.0.0' }
const FORM = { name: 'Ada', age: 36 }

/** A person's answer to a form. */
function fillIn (
  declines: boolean,
  params: { mode?: string | undefined; message: string; requestedSchema?: { properties: object } }
): { action: 'accept' | 'decline'; content?: Record<string, string | number> } {
  if (declines) return { action: 'decline' }
  if (params.requestedSchema === undefined) return { action: 'accept' }
  return { action: 'accept', content: 'value' in params.requestedSchema.properties ? { value: params.message } : FORM }
}

/** A client of either SDK. */
export interface Connected {
  call(
    name: string,
    args?: Record<string, unknown>,
    options?: { onprogress?: (progress: { progress: number }) => void; signal?: AbortSignal; timeout?: number }
  ): Promise<string>
  setLevel?(level: 'error' | 'info'): Promise<void>
  logged: unknown[]
  /** Whether the person declines from now on. */
  decline(declines: boolean): void
  listChanges(): number
  /** Elicitations by URL that the server said are done; 2026-07-28 has no such message. */
  completed?: () => number
  close(): Promise<void>
}
export type Connect = (
  t: Test,
  replicas: Pick<Replicas, 'url' | 'token'>,
  fetch: typeof globalThis.fetch
) => Promise<Connected>

const text = (result: unknown): string => {
  const { content, isError } = result as { content: Array<{ text: string }>, isError?: boolean }
  return `${isError === true ? 'error: ' : ''}${content[0]!.text}`
}

export const connectV1: Connect = async (t, replicas, fetch) => {
  const client = new ClientV1(info, { capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} } })
  const logged: unknown[] = []
  let changes = 0
  let declines = false
  let completed = 0
  client.setNotificationHandler(ElicitationCompleteNotificationSchema, () => { completed++ })
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => fillIn(declines, params))
  client.setRequestHandler(CreateMessageRequestSchema, () => ({
    model: 'm',
    role: 'assistant',
    content: { type: 'text', text: 'a poem' }
  }))
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///home/ada' }] }))
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => { logged.push(params.data) })
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => { changes++ })
  const transport = new TransportV1(new URL(`${replicas.url}/mcp`), {
    fetch,
    requestInit: { headers: { authorization: `Bearer ${await replicas.token()}` } }
  })
  await client.connect(transport as never)
  t.teardown(async () => { await client.close() })
  return {
    call: async (name, args = {}, options = {}) =>
      text(await client.callTool({ name, arguments: args }, undefined, options)),
    setLevel: async (level) => {
      await client.setLoggingLevel(level)
    },
    logged,
    decline (next) {
      declines = next
    },
    listChanges: () => changes,
    completed: () => completed,
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

export const connectV2 = (mode: 'legacy' | 'auto'): Connect => async (t, replicas, fetch) => {
  const logged: unknown[] = []
  let changes = 0
  let declines = false
  const client = new Client(info, {
    capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} },
    versionNegotiation: { mode },
    listChanged: { tools: { autoRefresh: false, onChanged: () => { changes++ } } }
  })
  client.setRequestHandler('elicitation/create', ({ params }) => fillIn(declines, params))
  client.setRequestHandler('sampling/createMessage', () => ({
    model: 'm',
    role: 'assistant',
    content: { type: 'text', text: 'a poem' }
  }))
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///home/ada' }] }))
  client.setNotificationHandler('notifications/message', ({ params }) => { logged.push(params.data) })
  const transport = new StreamableHTTPClientTransport(new URL(`${replicas.url}/mcp`), {
    fetch,
    requestInit: { headers: { authorization: `Bearer ${await replicas.token()}` } }
  })
  await client.connect(transport)
  t.teardown(async () => { await client.close() })
  return {
    call: async (name, args = {}, options = {}) => text(await client.callTool({ name, arguments: args }, options)),
    ...(mode === 'legacy' && { setLevel: async (level: 'error' | 'info') => { await client.setLoggingLevel(level) } }),
    logged,
    decline (next) { declines = next },
    listChanges: () => changes,
    close: async () => {
      if (mode === 'legacy') await transport.terminateSession()
      await client.close()
    }
  }
}
