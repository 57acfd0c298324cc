import { isSpecType } from '@modelcontextprotocol/client'
import type { Client, ClientCapabilities, InputRequest } from '@modelcontextprotocol/client'
import type { RequestContext } from '../define/context.ts'
import { ToolError } from '../define/tool.ts'
import type { UpstreamQuestions, UpstreamRound } from '../define/upstream.ts'
import type { RunContext } from '../mcp/handlers/execute.ts'
import { isInputRequired } from './connection.ts'
import type { InputRequired } from './connection.ts'
import type { MountedServer } from './mounted-server.ts'

const CAPABILITIES_META = 'io.modelcontextprotocol/clientCapabilities'

/** Limits of one round: the questions go to a person, and the state travels with the client's next request. */
const MAX_QUESTIONS = 20
const MAX_STATE_CHARACTERS = 65_536

/** The members of a request to a mounted server beside its own parameters. */
export interface RoundParams {
  _meta?: Record<string, unknown>
  inputResponses?: Record<string, unknown>
  requestState?: string
}

/**
 * Sends a request to a mounted server, and sends it again with the client's answers for as long as the server asks for
 * input (MCP 2026-07-28, multi round-trip requests).
 *
 * @param meta what is passed on of the client's `_meta`
 */
export async function requestInRounds<Result extends object> (
  server: MountedServer,
  context: RequestContext,
  meta: Record<string, unknown> | undefined,
  send: (client: Client, params: RoundParams) => Promise<Result>
): Promise<Result> {
  const run = context as RunContext
  let round = run.upstreamRound
  for (;;) {
    const result = await server.use(context, async (client) =>
      await send(client, paramsOf(client, context, meta, round)))
    if (!isInputRequired(result)) return result
    round = await run.askForUpstream(readQuestions(result, server.mount.name))
  }
}

function paramsOf (
  client: Client, context: RequestContext, meta: Record<string, unknown> | undefined, round: UpstreamRound | undefined
): RoundParams {
  if (client.getProtocolEra() !== 'modern') return meta === undefined ? {} : { _meta: meta }
  const _meta = { ...meta, [CAPABILITIES_META]: passedCapabilities(context) }
  if (round === undefined) return { _meta }
  const { inputResponses, requestState } = round
  return {
    _meta,
    ...(Object.keys(inputResponses).length > 0 && { inputResponses }),
    ...(requestState !== undefined && { requestState })
  }
}

/**
 * Returns the capabilities of the calling client as Seed declares them to a mounted server, so that nothing is asked
 * that the client cannot answer. Nobody is there to answer for a service; its roots are its own.
 */
export function passedCapabilities ({ principal, client: { capabilities } }: RequestContext): ClientCapabilities {
  const { elicitation, sampling, roots } = capabilities as Record<string, object | undefined>
  const isService = principal?.kind === 'service'
  return {
    ...(elicitation !== undefined && !isService && { elicitation: named(elicitation, ['form', 'url']) }),
    ...(sampling !== undefined && !isService && { sampling: named(sampling, ['context', 'tools']) }),
    ...(roots !== undefined && { roots: {} })
  }
}

function named (capability: object, names: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(names.filter((name) => name in capability).map((name) => [name, {}]))
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

/** Tells whether a question is one of MCP, and leads to no address but one of the web. */
function isQuestion (question: unknown): question is InputRequest {
  if (isSpecType.CreateMessageRequest(question) || isSpecType.ListRootsRequest(question)) return true
  const { method, params } = Object(question) as { method?: unknown, params?: { mode?: unknown, url?: unknown } }
  if (method !== 'elicitation/create' || params?.mode !== 'url') return isSpecType.ElicitRequest(question)
  // The type is that of the 2025 revisions, which have an id.
  return isSpecType.ElicitRequest({ method, params: { elicitationId: '', ...params } }) &&
    ['https:', 'http:'].includes(new URL(String(params.url)).protocol)
}
