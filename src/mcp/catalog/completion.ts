import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { CompleteResult } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'
import type { Completions } from '../../define/completion.ts'
import type { RequestContext } from '../../define/context.ts'
import { logFailure } from '../handlers/execute.ts'

/**
 * Suggestions for one argument (MCP, completion).
 * @throws ProtocolError for an argument that there is not, and where the author's code failed
 */
export type Completer = (argument: { name: string, value: string }, given: Readonly<Record<string, string>>, context: Pick<RequestContext, 'principal' | 'log'>) => Promise<CompleteResult['completion']>

const MOST_VALUES = 100

/** @param names of the arguments that there are. @throws Error for completions of others */
export function createCompleter (what: string, names: readonly string[], schema: TObject | undefined, completions: Completions<Record<string, string>> | undefined): Completer {
  for (const name of Object.keys(completions ?? {})) {
    if (!names.includes(name)) throw new Error(`${what} completes ${name}, which it does not have`)
  }
  const choices = new Map(names.map((name) => [name, literals((schema?.properties as Record<string, Choice> | undefined)?.[name] ?? {})]))

  return async ({ name, value }, given, context) => {
    const values = choices.get(name)
    if (values === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `${what} has no argument ${name.slice(0, 100)}`)
    const complete = completions?.[name]
    const fitting = complete === undefined
      ? values.filter((choice) => choice.startsWith(value))
      : await suggest(complete, value, given, context, what)
    return { values: fitting.slice(0, MOST_VALUES), total: fitting.length, hasMore: fitting.length > MOST_VALUES }
  }
}

async function suggest (complete: NonNullable<Completions<Record<string, string>>[string]>, value: string, given: Readonly<Record<string, string>>, context: Pick<RequestContext, 'principal' | 'log'>, what: string): Promise<string[]> {
  try {
    return [...await complete(value, given, context)].map(String)
  } catch (err) {
    throw new ProtocolError(ProtocolErrorCode.InternalError, logFailure(err, `completion of ${what}`, context.log).message)
  }
}

interface Choice {
  const?: unknown
  enum?: unknown[]
  anyOf?: Choice[]
}

/** The values that a schema admits, where it lists them. */
function literals ({ const: only, enum: choices = [], anyOf = [] }: Choice): string[] {
  return [only, ...choices, ...anyOf.flatMap(literals)].filter((choice) => typeof choice === 'string')
}
