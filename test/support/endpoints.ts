import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Writes a file of SEED_ENDPOINTS, and returns its path. */
export async function writeEndpoints (content: object | string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'seed-endpoints-')), 'endpoints.yaml')
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}
