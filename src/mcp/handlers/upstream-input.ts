import type { InputRequest } from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import type { ClientInfo } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import type { NextUpstreamRound, UpstreamQuestions, UpstreamRound } from '../../define/upstream.ts'
import { InputRequiredError, checkCapability } from './elicitation-and-sampling.ts'
import type { AskClient } from './elicitation-and-sampling.ts'
import type { Answers } from './request-state.ts'

/** Limit of the rounds of one call: a server may have a client's model work for it in many steps. */
export const MAX_ROUNDS = 30

/**
 * Asks the client on behalf of a server behind this one, one question after the other.
 *
 * @param ask asks within the call, or throws InputRequiredError when the answer comes with another request
 * @returns the answers; undefined if they come with another request
 * @throws ToolError if the client cannot be asked
 */
export async function askForUpstream (
  questions: UpstreamQuestions['inputRequests'], ask: AskClient, client: ClientInfo
): Promise<Answers | undefined> {
  for (const request of Object.values(questions)) checkCapability(request, client)
  const answers: Answers = {}
  let isMissing = false
  for (const [key, request] of Object.entries(questions)) {
    try {
      answers[key] = await ask(request, key)
    } catch (err) {
      if (!(err instanceof InputRequiredError)) throw err
      isMissing = true
    }
  }
  return isMissing ? undefined : answers
}

/** Returns the round after this one. @throws ToolError if the server asks without end */
export function nextRound (
  current: UpstreamRound | undefined, { requestState, isHeld }: UpstreamQuestions
): NextUpstreamRound {
  const count = (current?.count ?? 0) + 1
  if (count > MAX_ROUNDS) throw new ToolError(`The server behind this one asked more than ${MAX_ROUNDS} times`)
  return { requestState, isHeld, count }
}

/** Returns a question as the client's revision has it: those of 2025 identify each elicitation by URL. */
export function toRevisionOf (isSession: boolean, request: InputRequest): InputRequest {
  const params = request.params as { mode?: unknown, elicitationId?: string } | undefined
  if (params?.mode !== 'url') return request
  const { elicitationId = randomId(), ...others } = params
  return { ...request, params: isSession ? { ...others, elicitationId } : others } as InputRequest
}
