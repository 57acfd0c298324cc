import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { CompleteResult } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'
import type { Completions } from '../../define/completion.ts'
import type { RequestContext } from '../../define/context.ts'
import type { Definition } from '../../define/definition.ts'
import { logFailure } from '../handlers/execute.ts'
import type { RunContext } from '../handlers/execute.ts'

/**
 * Suggests values for one argument (MCP, completion).
 *
 * @param given the arguments that are filled in already
 * @throws ProtocolError if there is no such argument, or the author's function failed
 */
export type Completer = (
  argument: { name: string, value: string },
  given: Readonly<Record<string, string>>,
  context: CompletionContext
) => Promise<CompleteResult['completion']>

export type CompletionContext = Pick<RequestContext, 'principal' | 'log'> & Pick<RunContext, 'session'>

/** The most values in one answer (MCP, completion). */
const MAX_VALUES = 100

/**
 * Returns the completer of a prompt or resource template. An argument without a function of its own is completed with
 * the values that its schema lists.
 *
 * @param label names the definition in messages
 * @param names the arguments that exist
 * @throws Error if `completions` has one for another argument
 */
export function createCompleter (
  label: string,
  definition: Definition,
  names: readonly string[],
  schema: TObject | undefined,
  completions: Completions<Record<string, string>> = {}
): Completer {
  for (const name of Object.keys(completions)) {
    if (!names.includes(name)) throw new Error(`${label} completes ${name}, which it does not have`)
  }
  const properties = (schema?.properties ?? {}) as Record<string, ChoiceSchema>
  const suggest = createSuggest(label, definition)
  // A mounted server may name an argument like a member that every object has.
  const functions = new Map(Object.entries(completions))
  const schemas = new Map(Object.entries(properties))
  const listed = new Map(names.map((name) => [name, listedValues(schemas.get(name) ?? {})]))

  return async ({ name, value }, given, context) => {
    const values = listed.get(name)
    if (values === undefined) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `${label} has no argument ${name.slice(0, 100)}`)
    }
    const suggested = await suggest(functions.get(name), value, given, context)
    const matching = suggested ?? values.filter((choice) => choice.startsWith(value))
    return {
      values: matching.slice(0, MAX_VALUES),
      total: matching.length,
      hasMore: matching.length > MAX_VALUES
    }
  }
}

/** Returns a function that runs an author's `complete` function. */
function createSuggest (label: string, definition: Definition) {
  return async (
    complete: Completions<Record<string, string>>[string] | undefined,
    value: string,
    given: Readonly<Record<string, string>>,
    context: CompletionContext
  ): Promise<string[] | undefined> => {
    try {
      return complete && [...await complete(value, given, context)].map(String)
    } catch (err) {
      const { message } = logFailure(err, `completion of ${label}`, definition, context.log)
      throw new ProtocolError(ProtocolErrorCode.InternalError, message)
    }
  }
}

interface ChoiceSchema {
  const?: unknown
  enum?: unknown[]
  anyOf?: ChoiceSchema[]
}

/** Returns the strings that a schema lists: those of an enum, a literal or a union of literals. */
function listedValues ({ const: literal, enum: values = [], anyOf = [] }: ChoiceSchema): string[] {
  return [literal, ...values, ...anyOf.flatMap(listedValues)].filter((value) => typeof value === 'string')
}
