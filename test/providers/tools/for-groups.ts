import { defineTool } from '../../../src/define/tool.ts'
import { Type } from 'typebox'

/** A tool for a group by its name, the same for its full path, and one for a group that nobody is in. */
const toolFor = (name: string, group: string) => defineTool({
  name,
  description: `Is for ${group}.`,
  groups: [group],
  input: Type.Object({}),
  handler: () => 'yes'
})

export const forBackend = toolFor('for_backend', 'backend')
export const forBackendByPath = toolFor('for_backend_by_path', 'engineering/backend')
export const forOthers = toolFor('for_others', 'others')
