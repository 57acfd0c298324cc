import { ProtocolError, ProtocolErrorCode, isSpecType } from '@modelcontextprotocol/server'
import type { GetPromptResult, Prompt } from '@modelcontextprotocol/server'
import { Compile } from 'typebox/compile'
import type { Validator } from 'typebox/compile'
import { user } from '../../define/content.ts'
import type { PromptDefinition } from '../../define/prompt.ts'
import type { Principal } from '../../tokens/principal.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import { createCompleter } from './completion.ts'
import type { Completer } from './completion.ts'
import { execute, logFailure } from '../handlers/execute.ts'
import type { Run } from '../handlers/execute.ts'
import { describeValidationError } from './validation-message.ts'
import { createListing, plain } from './listing.ts'
import type { Listing } from './listing.ts'
import { protocolErrors } from '../handlers/protocol-errors.ts'
import { checkName } from './tools.ts'

/** The prompts of this server: checked and compiled once. */
export interface PromptCatalog {
  /** As prompts/list answers them. */
  readonly listing: Listing<Prompt>
  /** Whatever its policy says. */
  find (name: string): CompiledPrompt | undefined
  /** @throws ProtocolError where it does not exist for this caller, its arguments are not valid, or it failed; InputRequiredError; the reason for which it was aborted */
  get (name: string, given: Record<string, string>, principal: Principal | undefined, run: Run): Promise<GetPromptResult>
}

export interface CompiledPrompt {
  definition: PromptDefinition
  arguments: Validator | undefined
  complete: Completer
}

/** @throws Error for a definition that cannot be served */
export function createPromptCatalog (definitions: readonly PromptDefinition[], policies: PolicyEvaluator): PromptCatalog {
  const prompts = new Map<string, CompiledPrompt>()
  for (const definition of definitions) {
    const { name, arguments: schema, complete } = definition
    checkName('Prompt', name)
    if (prompts.has(name)) throw new Error(`Two prompts are called ${name}`)
    prompts.set(name, {
      definition,
      arguments: schema && Compile(schema),
      complete: createCompleter(`Prompt ${name}`, Object.keys(schema?.properties ?? {}), schema, complete)
    })
  }
  const listing = createListing([...prompts.values()].map(({ definition }) => ({ name: definition.name, item: describe(definition), policy: definition })), policies)

  return {
    listing,
    find: (name) => prompts.get(name),
    async get (name, given, principal, run) {
      const prompt = prompts.get(name)
      if (prompt === undefined || !policies.isAllowed(prompt.definition, principal)) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown prompt: ${name}`)
      const { definition, arguments: validator } = prompt
      if (validator?.Check(given) === false) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `The arguments of ${name} are not valid: ${describeValidationError(validator, given)}`)
      const what = `prompt ${name}`
      return await protocolErrors(async () => {
        const output: unknown = await execute(what, definition.timeoutSeconds, run, (context) => definition.handler(given as never, context))
        return render(output, definition, (err) => logFailure(err, what, run.log))
      })
    }
  }
}

function render (output: unknown, { name, description }: PromptDefinition, fail: (err: Error) => Error): GetPromptResult {
  const messages = typeof output === 'string' ? [user(output)] : output
  if (!Array.isArray(messages) || !messages.every((message) => isSpecType.PromptMessage(message))) {
    throw fail(new Error(`Prompt ${name} returned something other than text or messages`))
  }
  return { ...(description !== undefined && { description }), messages }
}

function describe ({ name, title, description, arguments: schema, icons, _meta }: PromptDefinition): Prompt {
  const required: readonly string[] = schema?.required ?? []
  const args = Object.entries((schema?.properties ?? {}) as Record<string, { title?: string, description?: string }>).map(([argument, { title, description }]) => ({
    name: argument, title, description, required: required.includes(argument)
  }))
  return plain({ name, title, description, icons, ...(args.length > 0 && { arguments: args }), _meta })
}
