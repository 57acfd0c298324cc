import type { Definition } from '../../define/definition.ts'
import { compileTool } from './compiled-tool.ts'
import { compilePrompt } from './prompts.ts'
import { compileTemplate } from './resource-template.ts'
import { checkResource } from './resources.ts'

/** Checks one definition by itself. @throws Error for one that no catalog could serve */
export function checkDefinition (definition: Definition): void {
  switch (definition.kind) {
    case 'tool': compileTool(definition); break
    case 'prompt': compilePrompt(definition); break
    case 'resource': checkResource(definition); break
    case 'resource-template': compileTemplate(definition); break
  }
}
