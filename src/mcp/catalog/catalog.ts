import type { Definition } from '../../define/definition.ts'
import type { Policy } from '../../define/policy.ts'
import { createPolicyEvaluator } from '../../policy/evaluator.ts'
import type { PolicyEvaluator, PolicyOptions } from '../../policy/evaluator.ts'
import { createPromptCatalog } from './prompts.ts'
import type { PromptCatalog } from './prompts.ts'
import { createResourceCatalog } from './resources.ts'
import type { ResourceCatalog } from './resources.ts'
import { createToolCatalog } from './tools.ts'
import type { ToolCatalog } from './tools.ts'

/** All that this server offers, checked and compiled once: at start, and where a developer has saved a file. */
export interface Catalog {
  readonly tools: ToolCatalog
  readonly prompts: PromptCatalog
  readonly resources: ResourceCatalog
  /** What a request is about, so that its policy can be judged before anything runs; undefined where it is about nothing that has one. */
  policyOf (method: string, params: unknown): Policy | undefined
}

/** @throws Error for definitions that cannot be served, with the name of the one that is at fault */
export function createCatalog (definitions: readonly Definition[], policies: PolicyEvaluator): Catalog {
  const ofKind = <Kind extends Definition['kind']>(kind: Kind): Array<Extract<Definition, { kind: Kind }>> =>
    definitions.filter((definition) => definition.kind === kind) as Array<Extract<Definition, { kind: Kind }>>
  const tools = createToolCatalog(ofKind('tool'), policies)
  const prompts = createPromptCatalog(ofKind('prompt'), policies)
  const resources = createResourceCatalog(ofKind('resource'), ofKind('resource-template'), policies)

  return {
    tools,
    prompts,
    resources,
    policyOf (method, params) {
      const { name, uri, ref } = (params ?? {}) as { name?: unknown, uri?: unknown, ref?: { type?: unknown, name?: unknown, uri?: unknown } }
      switch (method) {
        case 'tools/call': return tools.find(String(name))?.definition
        case 'prompts/get': return prompts.find(String(name))?.definition
        case 'resources/read':
        case 'resources/subscribe': return resources.find(String(uri))?.policy
        case 'completion/complete': return ref?.type === 'ref/prompt' ? prompts.find(String(ref.name))?.definition : resources.findTemplate(String(ref?.uri))?.definition
        default: return undefined
      }
    }
  }
}

/** Whether some can be served, before they are joined with others: so that a message can name their file. */
export function createDefinitionCheck (hierarchy: PolicyOptions['hierarchy']): (definitions: readonly Definition[]) => void {
  const policies = createPolicyEvaluator({ hierarchy, scopes: [] })
  return (definitions) => { createCatalog(definitions, policies) }
}
