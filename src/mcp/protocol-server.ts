import { CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, ProtocolError, ProtocolErrorCode, Server, inputRequired } from '@modelcontextprotocol/server'
import type { CallToolResult, Implementation, InputRequiredResult, JSONRPCMessage, LoggingLevel, ServerContext, ServerEvent } from '@modelcontextprotocol/server'
import type { Principal } from '../oidc/principal.ts'
import { StoreUnavailableError } from '../store/store.ts'
import { InputRequiredError, askInRounds, askOnStream, clientInput } from './client-input.ts'
import type { AskClient } from './client-input.ts'
import type { Deadline } from './deadline.ts'
import type { ClientInfo, ToolContext, ToolLog } from './define.ts'
import type { ToolRegistry } from './registry.ts'
import { RequestStateError } from './request-state.ts'
import type { Answers, RequestStates, StateBinding } from './request-state.ts'
import type { Session, Sessions } from './sessions.ts'

/**
 * The SDK's server objects, one for each request and never shared (GHSA-345p-7cg4-v4c7): the caller comes in by
 * closure, so no request can see another's. What does not change, the tools, is made once.
 */
export interface ProtocolServers {
  create (caller: Caller): Server
  /** Aborts what is running. */
  abortAll (reason: Error): void
}

export interface Caller {
  principal: Principal | undefined
  log: ToolLog
  /** Absent in 2026-07-28. */
  session?: Session
  /** The store was away when it was needed: the answer is 503, whatever the SDK makes of it. */
  failure?: StoreUnavailableError
}

export interface ProtocolServerOptions {
  serverInfo: Implementation
  registry: ToolRegistry
  sessions: Sessions
  requestStates: RequestStates
  toolTimeoutSeconds: number
  inputTimeoutSeconds: number
  announce (change: ServerEvent): void
  /** Leaves a message that belongs to no call. @throws StoreUnavailableError */
  queue (session: Session, message: JSONRPCMessage): Promise<void>
  onerror (error: Error): void
}

const SEVERITIES = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export function createProtocolServers (options: ProtocolServerOptions): ProtocolServers {
  const { serverInfo, registry, sessions, requestStates, toolTimeoutSeconds, inputTimeoutSeconds, announce, queue, onerror } = options
  const running = new Set<Deadline>()

  function createContext (caller: Caller, context: ServerContext, client: ClientInfo, deadline: Deadline, ask: AskClient): ToolContext {
    const { mcpReq } = context
    const progressToken = mcpReq._meta?.progressToken
    return {
      principal: caller.principal,
      log: caller.log,
      signal: deadline.signal,
      client,
      async progress (progress, total, message) {
        if (progressToken === undefined) return
        await mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress, ...(total !== undefined && { total }), ...(message !== undefined && { message }) }
        }).catch(onerror)
      },
      async tell (level, data) {
        if (caller.session !== undefined && !wants(caller.session, level)) return
        await mcpReq.log(level, data).catch(onerror)
      },
      ...clientInput(ask, caller.session && createCompletion(caller.session)),
      announce
    }
  }

  function createCompletion (session: Session) {
    return async (elicitationId: string): Promise<void> => {
      await queue(session, { jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId } })
    }
  }

  /** Runs a tool with a signal that heeds the client's too. */
  async function run (caller: Caller, context: ServerContext, client: ClientInfo, call: ToolCall, createAsk: (deadline: Deadline) => AskClient): Promise<CallToolResult> {
    const { signal } = context.mcpReq
    let deadline: Deadline | undefined
    const abort = (): void => { deadline!.abort(new Error('The client does not wait any more')) }
    try {
      return await registry.call(call.name, call.arguments ?? {}, {
        log: caller.log,
        timeoutSeconds: toolTimeoutSeconds,
        createContext (created) {
          deadline = created
          running.add(created)
          signal.addEventListener('abort', abort, { once: true })
          return createContext(caller, context, client, created, createAsk(created))
        }
      })
    } finally {
      signal.removeEventListener('abort', abort)
      if (deadline !== undefined) running.delete(deadline)
    }
  }

  async function callInSession (caller: Caller, session: Session, call: ToolCall, context: ServerContext): Promise<CallToolResult> {
    const client: ClientInfo = { ...session.clientInfo, capabilities: session.capabilities }
    return await run(caller, context, client, call, (deadline) =>
      askOnStream(context, client, { deadline, signal: deadline.signal, timeoutSeconds: inputTimeoutSeconds }))
  }

  async function callInRounds (caller: Caller, call: ToolCall, context: ServerContext): Promise<CallToolResult | InputRequiredResult> {
    const { mcpReq: { envelope, inputResponses, requestState } } = context
    const client = describeClient(envelope as Envelope)
    const binding: StateBinding = { principalKey: caller.principal?.key ?? '', tool: call.name, arguments: call.arguments ?? {} }
    const answers = await readAnswers(caller, requestState<string>(), inputResponses ?? {}, binding)
    const rounds = askInRounds(answers)
    const needed = (): InputRequiredResult => inputRequired({
      inputRequests: rounds.missing,
      requestState: requestStates.seal(binding, { answers, asked: Object.keys(rounds.missing) })
    })
    try {
      const result = await run(caller, context, client, call, () => rounds.ask)
      // A handler may have caught what stopped it.
      return Object.keys(rounds.missing).length > 0 ? needed() : result
    } catch (err) {
      if (err instanceof InputRequiredError) return needed()
      throw err
    }
  }

  /** The answers of earlier rounds and those of this one to what was asked. */
  async function readAnswers (caller: Caller, state: string | undefined, responses: Record<string, unknown>, binding: StateBinding): Promise<Answers> {
    if (state === undefined) return {}
    try {
      const { answers, asked } = await noting(caller, requestStates.open(state, binding))
      return { ...answers, ...Object.fromEntries(Object.entries(responses).filter(([key]) => asked.includes(key))) }
    } catch (err) {
      if (err instanceof RequestStateError) {
        caller.log.warn({ reason: err.message }, 'A request state was refused')
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'Invalid or expired requestState', { reason: 'invalid_request_state' })
      }
      throw err
    }
  }

  return {
    create (caller) {
      const server = new Server(serverInfo, { capabilities: { tools: { listChanged: true }, logging: {} } })
      server.onerror = onerror
      server.setRequestHandler('tools/list', () => ({ tools: [...registry.listed] }))
      server.setRequestHandler('tools/call', async ({ params }, context) => caller.session === undefined
        ? await callInRounds(caller, params, context)
        : await callInSession(caller, caller.session, params, context))
      server.setRequestHandler('logging/setLevel', async ({ params }) => {
        await noting(caller, sessions.setLogLevel(caller.session!, params.level))
        return {}
      })
      return server
    },
    abortAll (reason) {
      for (const deadline of running) deadline.abort(reason)
    }
  }
}

/** Keeps a failure of the store, which the SDK would make a protocol error of. */
async function noting<T> (caller: Caller, work: Promise<T>): Promise<T> {
  return await work.catch((err: unknown) => {
    if (err instanceof StoreUnavailableError) caller.failure = err
    throw err
  })
}

/** Members of `_meta` that the SDK has checked. */
type Envelope = {
  [CLIENT_INFO_META_KEY]?: { name: string, version: string }
  [CLIENT_CAPABILITIES_META_KEY]: Record<string, unknown>
}

function describeClient ({ [CLIENT_INFO_META_KEY]: info, [CLIENT_CAPABILITIES_META_KEY]: capabilities }: Envelope): ClientInfo {
  return { name: info?.name, version: info?.version, capabilities }
}

interface ToolCall {
  name: string
  arguments?: Record<string, unknown> | undefined
}

function wants ({ logLevel }: Session, level: LoggingLevel): boolean {
  return logLevel === undefined || SEVERITIES.indexOf(level) >= SEVERITIES.indexOf(logLevel)
}
