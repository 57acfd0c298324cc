import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { CompleteRequest, CompleteResult } from '@modelcontextprotocol/server'
import type { Definition } from '../../define/definition.ts'
import type { Policy } from '../../define/policy.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import type { CompletionContext } from './completion.ts'
import { createPromptCatalog } from './prompts.ts'
import { createResourceCatalog } from './resources.ts'
import type { IsUriOffered } from './resources.ts'
import { createToolCatalog } from './tools.ts'

export type Catalog = ReturnType<typeof createCatalog>

/**
 * Everything that the server offers, validated and compiled once: at start, and in development after each save. What a
 * caller may not use is not found, as if it did not exist.
 *
 * @throws DefinitionError for a definition that cannot be served
 */
export function createCatalog (
  definitions: readonly Definition[], policies: PolicyEvaluator, isUriOffered?: IsUriOffered
) {
  const tools = createToolCatalog(ofKind(definitions, 'tool'), policies)
  const prompts = createPromptCatalog(ofKind(definitions, 'prompt'), policies)
  const resources = createResourceCatalog(
    ofKind(definitions, 'resource'),
    ofKind(definitions, 'resource-template'),
    policies,
    isUriOffered
  )

  return {
    tools,
    prompts,
    resources,

    /** For whom clients may keep what is the same for all callers. */
    cacheScope: policies.cacheScope(),

    /**
     * Returns the policy of what a request is about, so that missing scopes are found before anything runs. Undefined
     * if the request is about nothing that could have a policy, or that exists. The message is not validated yet.
     */
    policyOf (method: unknown, params: unknown): Policy | undefined {
      const { name, uri, ref } = (params ?? {}) as { name?: unknown, uri?: unknown, ref?: Record<string, unknown> }
      switch (method) {
        case 'tools/call': return findNamed(name, tools.policyOf)
        case 'prompts/get': return findNamed(name, prompts.policyOf)
        case 'resources/read':
        case 'resources/subscribe': return findNamed(uri, resources.policyOf)
        case 'completion/complete': return ref?.['type'] === 'ref/prompt'
          ? findNamed(ref['name'], prompts.policyOf)
          : findNamed(ref?.['uri'], resources.policyOfTemplate)
        default: return undefined
      }
    },

    /**
     * Suggests values for an argument of a prompt or a variable of a resource template.
     *
     * @throws ProtocolError if the caller may not use it, there is no such argument, or the author's function failed
     */
    async complete (
      { ref, argument, context }: CompleteRequest['params'],
      caller: CompletionContext
    ): Promise<CompleteResult['completion']> {
      const { principal } = caller
      const found = ref.type === 'ref/prompt'
        ? prompts.find(ref.name, principal)
        : resources.findTemplate(ref.uri, principal)
      if (found !== undefined) return await found.complete(argument, context?.arguments ?? {}, caller)
      // Clients may ask for a resource that has no variables: there is nothing to complete.
      if (ref.type === 'ref/resource' && resources.listing.visible(principal).some(({ uri }) => uri === ref.uri)) {
        return { values: [] }
      }
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'There is nothing of this name to complete')
    }
  }
}

/** Finds by a name from a message. Only a string is one: an object may not even convert to a string. */
function findNamed<Found> (name: unknown, find: (name: string) => Found | undefined): Found | undefined {
  return typeof name === 'string' ? find(name) : undefined
}

function ofKind<Kind extends Definition['kind']> (
  definitions: readonly Definition[],
  kind: Kind
): Array<Extract<Definition, { kind: Kind }>> {
  return definitions.filter((definition): definition is Extract<Definition, { kind: Kind }> => definition.kind === kind)
}
