import { Type, defineTool } from 'seed-mcp-server'

/**
 * Asks the person for confirmation. In revision 2026-07-28 the answer arrives with a new request, and the handler runs
 * again from its start: so ask first, and act afterwards.
 */
export const deleteProject = defineTool({
  name: 'delete_project',
  title: 'Delete a project',
  description: 'Deletes a project, after the person has typed its name.',
  input: Type.Object({ project: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
  annotations: { destructiveHint: true },
  async handler ({ project }, { elicit, log }) {
    const form = Type.Object({ name: Type.String({ title: 'Name of the project' }) })
    const answer = await elicit(`This deletes ${project} for good. Type its name to confirm.`, form)
    if (answer.action !== 'accept') return 'Nothing was deleted: the person declined.'
    if (answer.content.name !== project) return 'Nothing was deleted: the person typed another name.'
    log.info({ project }, 'Project deleted')
    return `${project} was deleted.`
  }
})
