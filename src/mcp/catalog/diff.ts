import type { ServerEvent } from '@modelcontextprotocol/server'
import type { Catalog } from './catalog.ts'

/** Which lists are other than they were. */
export function changedLists (before: Catalog, after: Catalog): ServerEvent[] {
  const changes: ServerEvent[] = []
  if (differs(before.tools.listing.all, after.tools.listing.all)) changes.push({ kind: 'tools_list_changed' })
  if (differs(before.prompts.listing.all, after.prompts.listing.all)) changes.push({ kind: 'prompts_list_changed' })
  if (differs([before.resources.listing.all, before.resources.templates.all], [after.resources.listing.all, after.resources.templates.all])) changes.push({ kind: 'resources_list_changed' })
  return changes
}

/** Their policies too, as they decide who is shown what. */
function differs (before: unknown, after: unknown): boolean {
  return JSON.stringify(before) !== JSON.stringify(after)
}
