import { ProtocolError, ProtocolErrorCode, isSpecType } from '@modelcontextprotocol/server'
import type { GetPromptResult, Prompt } from '@modelcontextprotocol/server'
import { Compile } from 'typebox/compile'
import type { Validator } from 'typebox/compile'
import { user } from '../../define/content.ts'
import { listHintOf } from '../../define/definition.ts'
import type { Policy } from '../../define/policy.ts'
import type { PromptDefinition } from '../../define/prompt.ts'
import { UpstreamResult } from '../../define/upstream.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import type { Principal } from '../../tokens/principal.ts'
import { execute, logFailure } from '../handlers/execute.ts'
import type { RunContext } from '../handlers/execute.ts'
import { copyResult } from '../handlers/result-json.ts'
import { withProtocolErrors } from '../handlers/protocol-errors.ts'
import { checkName, compileDefinitions } from './compile-definitions.ts'
import { createCompleter } from './completion.ts'
import type { Completer } from './completion.ts'
import { copyJson, createListing } from './listing.ts'
import { describeValidationError } from '../../json/validation-message.ts'

export interface CompiledPrompt {
  definition: PromptDefinition
  arguments: Validator | undefined
  complete: Completer
}

export type PromptCatalog = ReturnType<typeof createPromptCatalog>

/**
 * The server's prompts. Only a prompt that the caller may use is found.
 *
 * @throws DefinitionError for a prompt that cannot be served
 */
export function createPromptCatalog (definitions: readonly PromptDefinition[], policies: PolicyEvaluator) {
  const prompts = compileDefinitions(definitions, ({ name }) => name, compilePrompt)

  /** Returns the prompt, or undefined if the caller may not use it. */
  function find (name: string, principal: Principal | undefined): CompiledPrompt | undefined {
    const prompt = prompts.get(name)
    return prompt !== undefined && policies.isAllowed(prompt.definition, principal) ? prompt : undefined
  }

  return {
    /** The prompts as prompts/list returns them. */
    listing: createListing<Prompt>(
      definitions.map((definition) => ({
        name: definition.name, item: toPrompt(definition), policy: definition, hint: listHintOf(definition)
      })),
      policies
    ),

    find,

    /** Returns the policy of a prompt, whoever may use it. */
    policyOf: (name: string): Policy | undefined => prompts.get(name)?.definition,

    /**
     * Runs a prompt's handler.
     *
     * @throws ProtocolError if the caller may not use it, its arguments are not valid, or it failed;
     * InputRequiredError; the reason for which the request was aborted
     */
    async get (
      name: string,
      args: Record<string, string>,
      principal: Principal | undefined,
      context: RunContext
    ): Promise<GetPromptResult> {
      const prompt = find(name, principal)
      if (prompt === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown prompt: ${name}`)
      const { definition, arguments: validator } = prompt
      if (validator?.Check(args) === false) {
        const reason = describeValidationError(validator, args)
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, `The arguments of ${name} are not valid: ${reason}`)
      }
      return await withProtocolErrors(async () => await runPrompt(definition, args, context))
    }
  }
}

async function runPrompt (
  definition: PromptDefinition,
  args: Record<string, string>,
  context: RunContext
): Promise<GetPromptResult> {
  const label = `prompt ${definition.name}`
  const output: unknown = await execute(label, definition, context, () =>
    definition.handler(args as never, context))
  try {
    return toPromptResult(output, definition, context.maxResultBytes)
  } catch (err) {
    throw logFailure(err, label, definition, context.log)
  }
}

/** @throws Error for a prompt that cannot be served */
export function compilePrompt (definition: PromptDefinition): CompiledPrompt {
  const { name, arguments: schema, complete } = definition
  checkName('Prompt', name)
  return {
    definition,
    arguments: schema && Compile(schema),
    complete: createCompleter(`Prompt ${name}`, definition, Object.keys(schema?.properties ?? {}), schema, complete)
  }
}

/** @throws Error, for the prompt's author, if the handler returned neither text nor messages */
function toPromptResult (
  output: unknown,
  { name, description }: PromptDefinition,
  maxResultBytes: number
): GetPromptResult {
  if (output instanceof UpstreamResult) {
    const result = copyResult<GetPromptResult>(output.result, maxResultBytes)
    if (isSpecType.GetPromptResult(result)) return result
    throw new Error('The server behind this one returned something other than the result of a prompt')
  }
  const messages = copyResult(typeof output === 'string' ? [user(output)] : output, maxResultBytes)
  if (!Array.isArray(messages) || !messages.every((message) => isSpecType.PromptMessage(message))) {
    throw new Error(`Prompt ${name} returned something other than text or messages`)
  }
  return { ...(description !== undefined && { description }), messages }
}

function toPrompt ({ name, title, description, arguments: schema, icons, _meta }: PromptDefinition): Prompt {
  const required: readonly string[] = schema?.required ?? []
  const properties = (schema?.properties ?? {}) as Record<string, { title?: string, description?: string }>
  const args = Object.entries(properties).map(([name, { title, description }]) =>
    ({ name, title, description, required: required.includes(name) }))
  return copyJson({ name, title, description, icons, ...(args.length > 0 && { arguments: args }), _meta })
}
