import type { Icon, PromptMessage } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Completions } from './completion.ts'
import type { RequestContext } from './context.ts'
import type { EndpointChoice } from './endpoints.ts'
import type { Policy } from './policy.ts'

/** The members of a prompt, as `definePrompt` takes them. */
export interface PromptDeclaration<Arguments extends TObject> extends Policy, EndpointChoice {
  /** Unique name by which clients ask for the prompt: 1 to 128 letters, digits, `_`, `-` and `.`. */
  name: string
  /** Name for people. */
  title?: string
  description?: string
  /**
   * Schema of the arguments. They are strings on the wire, and validated before the handler runs. `Type.Enum` and
   * unions of literals are completed without a function in `complete`.
   */
  arguments?: Arguments
  /** Suggests values while somebody fills in an argument. */
  complete?: Completions<Static<Arguments>>
  icons?: Icon[]
  /**
   * Maximum run time in seconds; `TOOL_TIMEOUT_SECONDS` by default. Time that the client takes to answer does not
   * count.
   */
  timeoutSeconds?: number
  /** Metadata for clients, under names with a prefix of your own (`example.com/name`). */
  _meta?: Record<string, unknown>
  /**
   * Fills in the prompt.
   *
   * @param input the validated arguments
   * @returns text, as a message of the user, or messages made by `user()` and `assistant()`
   * @throws ToolError to tell the client what went wrong. Any other error is logged, and replaced by a generic message.
   */
  handler (input: Static<Arguments>, context: RequestContext): PromptOutput | Promise<PromptOutput>
}

export type PromptOutput = string | readonly PromptMessage[]

/** A prompt, as `definePrompt` returns it. */
export interface PromptDefinition extends PromptDeclaration<TObject> {
  readonly kind: 'prompt'
}

/**
 * Defines a prompt. The type of the handler's input follows from `arguments`.
 *
 * @example
 * export const review = definePrompt({
 *   name: 'review',
 *   description: 'Reviews the last change',
 *   arguments: Type.Object({ tone: Type.Enum(['kind', 'strict']) }),
 *   handler: ({ tone }) => `Review the last change. Be ${tone}.`
 * })
 */
export function definePrompt<Arguments extends TObject> (prompt: PromptDeclaration<Arguments>): PromptDefinition {
  return { ...prompt, kind: 'prompt' } as unknown as PromptDefinition
}
