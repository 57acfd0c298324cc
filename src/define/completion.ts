import type { RequestContext } from './context.ts'

/**
 * Functions that suggest values while somebody fills in arguments, by the argument's name. Each gets what was typed so
 * far and the arguments that are filled in already, and returns the values that match. The first 100 are sent.
 *
 * @example
 * complete: {
 *   repository: async (typed, { owner }) => (await repositoriesOf(owner)).filter((name) => name.startsWith(typed))
 * }
 */
export type Completions<Arguments> = {
  [Name in keyof Arguments]?: (
    typed: string,
    given: Readonly<Record<string, string>>,
    context: Pick<RequestContext, 'principal' | 'log'>
  ) => readonly string[] | Promise<readonly string[]>
}
