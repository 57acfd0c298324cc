import { dirname, join } from 'node:path'
import { ROOT } from '../support/root.ts'
import type { RealClient } from './client.ts'
import { connectProgram } from './program-client.ts'
import { installPython } from './python-environment.ts'

const SOURCE = join(ROOT, 'test/providers/python')
/** All in one virtual environment, beside the folders of the clients. */
const folderOf = (cacheFolder: string): string => join(dirname(cacheFolder), 'python')

/** The MCP SDK for Python in both eras of the protocol, and FastMCP's client. Those with sessions end them. */
export const PYTHON_CLIENTS: RealClient[] = ([
  ['Python SDK, 2025-11-25', 'legacy'],
  ['Python SDK, 2026-07-28', 'auto'],
  ['FastMCP', 'fastmcp']
] as const).map(([name, kind]) => ({
  name,
  install: async (cacheFolder) => { await installPython(folderOf(cacheFolder), SOURCE) },
  connect: async (options) => await connectProgram({
    command: join(folderOf(options.cacheFolder), 'bin/python'),
    args: [join(SOURCE, 'client.py'), kind],
    hasSessions: kind !== 'auto'
  }, options)
}))
