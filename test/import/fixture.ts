import { readFile, readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { transform } from 'esbuild'
import type { Test } from 'tap'
import { importOpenApi } from '../../src/import/import-openapi.ts'
import type { ImportOptions, ImportReport } from '../../src/import/import-openapi.ts'
import type { ToolDefinition } from '../../src/index.ts'
import { createTestClient } from '../../src/testing/index.ts'
import { emptyFolder } from '../support/process.ts'
import '../support/self-reference.ts'

type Options = Partial<Omit<ImportOptions, 'out' | 'tests'>>

/** Returns a description with these paths. */
export function describeApi (paths: object, others: object = {}): object {
  return { openapi: '3.1.0', info: { title: 'Test', version: '1' }, paths, ...others }
}

/** An operation that answers nothing. */
export const EMPTY = { responses: { 204: { description: 'Done' } } }

/** An operation that answers JSON of a schema. */
export function answering (schema: object, others: object = {}): object {
  return { responses: { 200: { description: 'Good', content: { 'application/json': { schema } } } }, ...others }
}

/** A project into which descriptions are imported. */
export interface ImportFixture {
  folder: string
  out: string
  run (description: object | string, options?: Options): Promise<ImportReport>
  read (file: string): Promise<string>
  /** Paths of all files. */
  list (): Promise<string[]>
  /** Loads what a file of the tools exports. */
  load (file: string): Promise<ToolDefinition>
}

export async function createImportFixture (t: Test): Promise<ImportFixture> {
  const folder = await emptyFolder(t)
  const out = join(folder, 'src/tools')
  const run: ImportFixture['run'] = async (description, options = {}) => {
    const source = join(folder, 'openapi.yaml')
    await writeFile(source, typeof description === 'string' ? description : JSON.stringify(description))
    const report = await importOpenApi({
      source,
      out,
      tests: join(folder, 'test'),
      name: undefined,
      prefix: '',
      selection: { tags: [], paths: [], operations: [] },
      ...options
    })
    if (report.kind === 'list') throw new Error(`${report.operations.length} operations to choose from`)
    return report
  }
  return {
    folder,
    out,
    run,
    read: async (file) => await readFile(join(folder, file), 'utf8'),
    list: async () => (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
      .filter((name) => name !== 'openapi.yaml')
      .sort(),
    load: async (file) => {
      const built = await emptyFolder(t)
      await writeFile(join(built, 'package.json'), '{"type":"module"}')
      for (const name of (await readdir(out)).filter((name) => name.endsWith('.ts'))) {
        const { code } = await transform(await readFile(join(out, name), 'utf8'), { loader: 'ts' })
        await writeFile(join(built, name.replace('.ts', '.js')), code)
      }
      const module = await import(pathToFileURL(join(built, file)).href) as Record<string, ToolDefinition>
      return Object.values(module)[0]!
    }
  }
}

/**
 * Starts an API that answers every request in the same way.
 *
 * @param setting the variable that names its URL to tools
 */
export async function startApi (
  t: Test, setting: string, { status, body, link = '' }: { status: number, body: unknown, link?: string }
) {
  const requests: Array<{ url: string, headers: Record<string, unknown>, body: string }> = []
  const server = createServer(async (request, response) => {
    requests.push({ url: request.url!, headers: request.headers, body: await text(request) })
    response.writeHead(status, { 'content-type': 'application/json', link }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  process.env[setting] = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  t.teardown(() => {
    delete process.env[setting]
    server.close().closeAllConnections()
  })
  return { requests }
}

export async function callImported (tool: ToolDefinition, input: Record<string, unknown>) {
  const client = await createTestClient({ definitions: [tool] })
  try {
    return await client.callTool(tool.name, input)
  } finally {
    await client.close()
  }
}
