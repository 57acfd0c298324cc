import type { ServerEvent } from '@modelcontextprotocol/server'
import type { Catalog } from './catalog.ts'

/** Returns a list-changed event for each list that differs between two catalogs. */
export function changedLists (before: Catalog, after: Catalog): ServerEvent[] {
  const changes: ServerEvent[] = []
  if (differ(before.tools.listing.all, after.tools.listing.all)) changes.push({ kind: 'tools_list_changed' })
  if (differ(before.prompts.listing.all, after.prompts.listing.all)) changes.push({ kind: 'prompts_list_changed' })
  if (differ(resourcesOf(before), resourcesOf(after))) changes.push({ kind: 'resources_list_changed' })
  return changes
}

function resourcesOf ({ resources }: Catalog): unknown {
  return [resources.listing.all, resources.templates.all]
}

function differ (before: unknown, after: unknown): boolean {
  return JSON.stringify(before) !== JSON.stringify(after)
}
