import type { Icon, PromptMessage } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Completions } from './completion.ts'
import type { RequestContext } from './context.ts'
import type { Policy } from './policy.ts'

/** A prompt as its author declares it. */
export interface PromptDeclaration<Arguments extends TObject> extends Policy {
  /** What clients call it by: letters, digits, `_`, `-` and `.`, at most 128. */
  name: string
  title?: string
  description?: string
  /** What it is filled in with: strings, as there is nothing else on the wire. `Type.Enum` and unions of literals complete themselves. */
  arguments?: Arguments
  /** Suggestions while somebody types an argument. */
  complete?: Completions<Static<Arguments>>
  icons?: Icon[]
  /** How long it may take; TOOL_TIMEOUT_SECONDS where absent. */
  timeoutSeconds?: number
  _meta?: Record<string, unknown>
  /** Gives the words of the user, or messages made by `user` and `assistant`. */
  handler (input: Static<Arguments>, context: RequestContext): PromptOutput | Promise<PromptOutput>
}

export type PromptOutput = string | readonly PromptMessage[]

/** A prompt as the engine takes it, its types erased. */
export interface PromptDefinition extends PromptDeclaration<TObject> {
  readonly kind: 'prompt'
}

/** Declares a prompt. The type of what the handler is given follows from `arguments`. */
export function definePrompt<Arguments extends TObject> (prompt: PromptDeclaration<Arguments>): PromptDefinition {
  return { ...prompt, kind: 'prompt' } as unknown as PromptDefinition
}
