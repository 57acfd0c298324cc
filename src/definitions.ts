import type { Config } from './config/config.ts'
import type { Definition } from './define/definition.ts'
import { linkExtensions } from './extensions/link.ts'
import { addFile, loadAllDefinitions, namesInStack } from './extensions/load.ts'
import type { LoadedDefinition } from './extensions/load.ts'
import { REVISIONS } from './mcp/revisions.ts'
import type { DeclaredMount } from './mounts/settings/define-mount.ts'
import { createConfigurationResource } from './resources/_configuration.ts'

/** Loads everything that this server offers, and knows afterwards which file each definition comes from. */
export function createDefinitionLoader () {
  let loaded: LoadedDefinition[] = []
  let mounts: DeclaredMount[] = []

  return {
    /**
     * Returns Seed's own tools, prompts and resources, those of SEED_EXTENSIONS, and the public configuration.
     *
     * @throws ExtensionError, which names the file and the reason
     */
    async load (config: Config): Promise<Definition[]> {
      if (config.extensions.length > 0) linkExtensions()
      mounts = []
      loaded = await loadAllDefinitions(config.extensions, { from: process.cwd(), mounts })
      return [...loaded.map(({ definition }) => definition), createConfigurationResource(config, REVISIONS)]
    },

    /** Returns the mounts of SEED_EXTENSIONS, once these are loaded. */
    mounts: (): readonly DeclaredMount[] => mounts,

    /** Adds the file to an error about a definition, as the catalog throws it. Any other error is returned as it is. */
    addFile: (err: unknown): unknown => addFile(err, loaded),

    /** Names the definitions whose files are in the stack of what was thrown. */
    namesInStack: (thrown: unknown): string[] => namesInStack(thrown, loaded)
  }
}

/** Loads everything that this server offers, and the mounts of extensions, for commands. @throws ExtensionError */
export async function loadOffers (
  config: Config
): Promise<{ definitions: readonly Definition[], mounts: readonly DeclaredMount[] }> {
  const loader = createDefinitionLoader()
  return { definitions: await loader.load(config), mounts: loader.mounts() }
}
