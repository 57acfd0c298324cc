import { CLIENT_CAPABILITIES_META_KEY, LOG_LEVEL_META_KEY } from '@modelcontextprotocol/client'
import type { Client, InputRequest, Progress, RequestOptions } from '@modelcontextprotocol/client'
import type { RequestContext } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import type { UpstreamQuestions, UpstreamRound } from '../../define/upstream.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import type { Caller } from '../caller/caller.ts'
import { passedCapabilities } from '../caller/client-capabilities.ts'
import { wantedLogLevel } from '../connection/call-log.ts'
import { isInputRequired } from '../connection/connection.ts'
import type { InputRequired } from '../connection/connection.ts'
import { CallLimitError } from '../server/call-limits.ts'
import type { MountedServer } from '../server/mounted-server.ts'
import { isQuestion } from '../connection/questions.ts'

/** Limits of one round: the questions go to a person, and the state travels with the client's next request. */
const MAX_QUESTIONS = 20
const MAX_STATE_CHARACTERS = 65_536

/** The members of a request to a mounted server beside its own parameters. */
export interface RoundParams {
  _meta?: Record<string, unknown>
  inputResponses?: Record<string, unknown>
  requestState?: string
}

/** Sends a request to a mounted server. */
export type Send<Result> = (client: Client, params: RoundParams, options: RequestOptions) => Promise<Result>

/** What a request to a mounted server has beside its parameters. */
export interface RequestExtras {
  /** What is passed on of the client's `_meta`. */
  meta: Record<string, unknown> | undefined
  /** Where the file has the changes of the tool or prompt, if it has some; undefined for resources. */
  place?: string
}

/**
 * Sends a request to a mounted server, and asks the client what the server asks before it answers. A further round of a
 * call is no further call for the limits of the mount.
 *
 * @throws CallLimitError beyond a limit of the mount; the call is recorded as refused then
 */
export async function requestInRounds<Result extends object> (
  server: MountedServer, context: RequestContext, extras: RequestExtras, send: Send<Result>
): Promise<Result> {
  const run = context as RunContext
  try {
    return await requestForCaller(server, run, extras, send)
  } catch (err) {
    if (err instanceof CallLimitError) run.recordRefusal(err.reason)
    throw err
  }
}

async function requestForCaller<Result extends object> (
  server: MountedServer, run: RunContext, extras: RequestExtras, send: Send<Result>
): Promise<Result> {
  const mayAsk = server.mount.connection === 'session' && Object.keys(passedCapabilities(run)).length > 0
  // An answer is for the call that has asked, whatever the client declares with it.
  if (!mayAsk && run.upstreamRound?.isHeld !== true) return await sendInRounds(server, run, run, extras, send)
  return await server.openCalls.run(run, async (caller) => await sendInRounds(server, run, caller, extras, send))
}

/**
 * Sends a request, and sends it again with the client's answers for as long as the server asks for input (MCP
 * 2026-07-28, multi round-trip requests).
 *
 * @throws ToolError if the answers are for a call that has ended
 */
async function sendInRounds<Result extends object> (
  server: MountedServer,
  run: RunContext,
  caller: Caller,
  { meta, place }: RequestExtras,
  send: Send<Result>
): Promise<Result> {
  let round = run.upstreamRound
  for (;;) {
    const begin = (): () => void => round === undefined
      ? server.callLimits.beginCall(caller, place)
      : server.callLimits.beginRequest(true)
    const result = await server.use(caller, async (client, own) =>
      await send(client, paramsOf(client, run, meta, round), { ...optionsOf(caller), ...own }), begin)
    if (!isInputRequired(result)) return result
    round = await run.askForUpstream(readQuestions(result, server.mount.name))
  }
}

/** More time than a handler may ever take: the handler's own limit ends a request. */
const NO_TIMEOUT = { timeout: 86_400_000 }

function optionsOf (caller: Caller): RequestOptions {
  const { signal, requestMeta } = caller
  return {
    ...NO_TIMEOUT,
    allowInputRequired: true,
    ...(signal !== undefined && { signal }),
    ...(requestMeta?.['progressToken'] !== undefined && {
      onprogress: ({ progress, total, message }: Progress) => { caller.progress!(progress, total, message) }
    })
  }
}

function paramsOf (
  client: Client, context: RunContext, meta: Record<string, unknown> | undefined, round: UpstreamRound | undefined
): RoundParams {
  if (client.getProtocolEra() !== 'modern') {
    if (round !== undefined) throw new ToolError('The call that asked is no longer open here: call again')
    return meta === undefined ? {} : { _meta: meta }
  }
  const logLevel = client.getServerCapabilities()!.logging === undefined ? undefined : wantedLogLevel(context)
  const _meta = {
    ...meta,
    [CLIENT_CAPABILITIES_META_KEY]: passedCapabilities(context),
    ...(logLevel !== undefined && { [LOG_LEVEL_META_KEY]: logLevel })
  }
  if (round === undefined) return { _meta }
  const { inputResponses, requestState } = round
  return {
    _meta,
    ...(Object.keys(inputResponses).length > 0 && { inputResponses }),
    ...(requestState !== undefined && { requestState })
  }
}

/** Checks the questions of a stranger to a person. @throws ToolError if it is nothing of MCP, or too much */
function readQuestions ({ inputRequests, requestState }: InputRequired, mount: string): UpstreamQuestions {
  const questions = Object.entries(inputRequests)
  if (questions.length > MAX_QUESTIONS || (requestState?.length ?? 0) > MAX_STATE_CHARACTERS) {
    throw new ToolError(`The server behind ${mount} asks for more than Seed passes on`)
  }
  if (!questions.every(([, question]) => isQuestion(question))) {
    throw new ToolError(`The server behind ${mount} asks for something that is not of MCP`)
  }
  return { inputRequests: inputRequests as Record<string, InputRequest>, requestState }
}
