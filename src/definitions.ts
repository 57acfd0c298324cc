import type { Config } from './config/config.ts'
import type { Definition } from './define/definition.ts'
import { linkExtensions } from './extensions/link.ts'
import { joinDefinitions, loadDefinitionFiles } from './extensions/load.ts'
import { createDefinitionCheck } from './mcp/catalog/catalog.ts'
import { REVISIONS } from './mcp/revisions.ts'
import { createConfigurationResource } from './resources/_configuration.ts'

/**
 * Everything that this server offers: its own tools, prompts and resources, those of SEED_EXTENSIONS, and its public
 * configuration.
 *
 * @throws ExtensionError, which names the file and the reason
 */
export async function loadDefinitions (config: Config): Promise<Definition[]> {
  if (config.extensions.length > 0) linkExtensions()
  const files = await loadDefinitionFiles(config.extensions, { from: process.cwd(), check: createDefinitionCheck(config.scopeHierarchy) })
  return [...joinDefinitions(files), createConfigurationResource(config, REVISIONS)]
}
