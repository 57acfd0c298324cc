import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ElicitationCompleteNotificationSchema, ListRootsRequestSchema,
  LoggingMessageNotificationSchema
} from '@modelcontextprotocol/sdk/types.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { Test } from 'tap'
import type { Era } from './engine-fixture.ts'

/** A client of an SDK whose person, model and folders a test answers for. */
export interface AskedClient {
  client: Pick<Client, 'callTool' | 'getPrompt' | 'listTools' | 'readResource' | 'sendRootsListChanged' | 'setLoggingLevel'>
  /** The text of a tool's result. */
  call (name: string, args?: Record<string, unknown>): Promise<string>
  /** The questions so far. */
  questions: Array<{ method: string, params: any }>
  /** The ids of the elicitations by URL of whose end a session has heard. */
  completed: string[]
  /** The data of log messages so far. */
  logged: unknown[]
}

export interface AskedClientOptions {
  token?: string
  capabilities?: Record<string, Record<string, object>>
  /** Answers a form. */
  fillIn?: (message: string) => Promise<object> | object
  /** Sends the requests; the global one by default. */
  fetch?: typeof fetch
}

const info = { name: 'asked', version: '1' }
const ALL = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} }

/** Connects the client of SDK v1 in a session, or that of SDK v2 in 2026-07-28. */
export async function connectAsked (
  t: Test,
  era: Era,
  { url }: { url: string },
  {
    token,
    capabilities = ALL,
    fillIn = (message) => ({ action: 'accept', content: { name: `${message} Ada` } }),
    fetch: send = fetch
  }: AskedClientOptions = {}
): Promise<AskedClient> {
  const questions: AskedClient['questions'] = []
  const completed: string[] = []
  const logged: unknown[] = []
  const answers: Record<string, (params: any) => object> = {
    'elicitation/create': (params) => params.mode === 'url' ? { action: 'accept' } : fillIn(params.message),
    'sampling/createMessage': () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'a poem' } }),
    'roots/list': () => ({ roots: [{ uri: 'file:///home/ada' }] })
  }
  const answer = async ({ method, params }: { method: string, params?: unknown }): Promise<any> => {
    questions.push({ method, params })
    return await answers[method]!(params)
  }
  const client = era === 'legacy'
    ? new ClientV1(info, { capabilities })
    : new Client(info, {
      capabilities, versionNegotiation: { mode: { pin: '2026-07-28' } }
    })
  const has = (name: string): boolean => name in capabilities
  const endpoint = new URL(`${url}/mcp`)
  const requestInit = { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }
  if (client instanceof Client) {
    if (has('elicitation')) client.setRequestHandler('elicitation/create', answer)
    if (has('sampling')) client.setRequestHandler('sampling/createMessage', answer)
    if (has('roots')) client.setRequestHandler('roots/list', answer)
    client.setNotificationHandler('notifications/message', ({ params }) => { logged.push(params.data) })
    await client.connect(new StreamableHTTPClientTransport(endpoint, { requestInit, fetch: send }))
  } else {
    if (has('elicitation')) client.setRequestHandler(ElicitRequestSchema, answer)
    if (has('sampling')) client.setRequestHandler(CreateMessageRequestSchema, answer)
    if (has('roots')) client.setRequestHandler(ListRootsRequestSchema, answer)
    client.setNotificationHandler(ElicitationCompleteNotificationSchema, ({ params }) => {
      completed.push(params.elicitationId)
    })
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => { logged.push(params.data) })
    await client.connect(new TransportV1(endpoint, { requestInit, fetch: send }) as never)
  }
  t.teardown(async () => { await client.close() })
  return {
    client: client as unknown as AskedClient['client'],
    async call (name, args = {}) {
      const { content } = await client.callTool({ name, arguments: args }) as { content: Array<{ text: string }> }
      return content[0]!.text
    },
    questions,
    completed,
    logged
  }
}
