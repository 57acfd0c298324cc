import { Type, defineTool } from 'seed-mcp-server'

/**
 * Asks the person before it acts. In 2026-07-28 the answer begins another request, in which the handler runs from its
 * start: so ask first, and act after.
 */
export const deleteProject = defineTool({
  name: 'delete_project',
  title: 'Delete a project',
  description: 'Deletes a project, after the person has typed its name.',
  input: Type.Object({ project: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
  annotations: { destructiveHint: true },
  async handler ({ project }, { elicit, log }) {
    const answer = await elicit(`This deletes ${project} for good. Type its name to go on.`, Type.Object({
      name: Type.String({ title: 'Name of the project' })
    }))
    if (answer.action !== 'accept') return 'Nothing was deleted: the person declined.'
    if (answer.content.name !== project) return 'Nothing was deleted: the name is another.'
    log.info({ project }, 'Project deleted')
    return `${project} was deleted.`
  }
})
