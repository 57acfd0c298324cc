import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { installNpm } from '../providers/npm-environment.ts'
import { installPython } from '../providers/python-environment.ts'
import { ROOT } from '../support/root.ts'
import type { HttpEntry, StdioEntry } from './server.ts'
import { startHttp } from './start-http.ts'

/** Public programs that offer a server on stdio by HTTP: servers of yet another kind. */

/** Installs supergateway into a folder. @throws RegistryUnreachable */
export async function installSupergateway (folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await installNpm(folder, join(ROOT, 'test/servers/supergateway'))
}

/**
 * Starts a server for each session, of the 2025 revisions.
 *
 * @param folder in which supergateway is installed
 */
export async function bridgeBySupergateway (
  t: Test, folder: string, { command, args, env }: StdioEntry
): Promise<HttpEntry> {
  return await startHttp(t, process.execPath, (port) => [
    join(folder, 'node_modules/supergateway/dist/index.js'), '--stdio', [command, ...args].join(' '), '--outputTransport', 'streamableHttp', '--stateful', '--port', port
  ], () => env)
}

/** Installs mcp-proxy into a virtual environment. @throws RegistryUnreachable */
export async function installMcpProxy (folder: string): Promise<void> {
  await installPython(folder, join(ROOT, 'test/servers/mcp-proxy'))
}

/**
 * Starts one server for all sessions, of the 2025 revisions.
 *
 * @param folder the virtual environment in which mcp-proxy is installed
 */
export async function bridgeByMcpProxy (
  t: Test, folder: string, { command, args, env }: StdioEntry
): Promise<HttpEntry> {
  const variables = Object.entries(env).flatMap(([name, value]) => ['--env', name, value])
  return await startHttp(t, join(folder, 'bin/mcp-proxy'), (port) =>
    ['--port', port, ...variables, '--', command, ...args])
}
