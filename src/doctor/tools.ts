import { findCompatibilityWarnings } from '../define/client-compatibility.ts'
import type { Definition } from '../define/definition.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'

/** Loads what the server offers, and compares names and schemas with what known clients accept. */
export async function checkTools (load: () => Promise<readonly Definition[]>): Promise<Finding[]> {
  const about = question('tools.definitions', 'what the server offers, with SEED_EXTENSIONS')
  try {
    const definitions = await load()
    const count = `${definitions.length} tools, prompts and resources`
    const loaded = about.ok(count, `${count} load`)
    return [loaded, ...findCompatibilityWarnings(definitions).map(({ file, message }) =>
      question('tools.compatibility', file ?? 'all tools').warning('known clients refuse it', message))]
  } catch (err) {
    return [about.error((err as Error).message, 'The server would not start', { setting: 'SEED_EXTENSIONS' })]
  }
}
