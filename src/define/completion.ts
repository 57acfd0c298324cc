import type { RequestContext } from './context.ts'

/**
 * Suggestions for arguments, by their names: those that fit what was typed so far. `given` holds the arguments that are
 * filled in already. At most 100 are sent.
 */
export type Completions<Arguments> = {
  [Name in keyof Arguments]?: (typed: string, given: Readonly<Record<string, string>>, context: Pick<RequestContext, 'principal' | 'log'>) => readonly string[] | Promise<readonly string[]>
}
