import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toEndpoints } from '../../src/config/endpoints.ts'
import type { Endpoint } from '../../src/config/endpoints.ts'

/** The endpoint `/mcp` of a server without SEED_ENDPOINTS. */
export const MAIN_ENDPOINT = mainEndpoint('https://seed.example')

export function mainEndpoint (baseUrl: string): Endpoint {
  const server = { name: 'seed', title: undefined, description: undefined, instructions: undefined }
  return toEndpoints({}, { baseUrl, scopes: ['openid', 'profile', 'email'], server })[0]!
}

/** Writes a file of SEED_ENDPOINTS, and returns its path. */
export async function writeEndpoints (content: object | string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'seed-endpoints-')), 'endpoints.yaml')
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

/** Sends a request to an MCP endpoint. @param path the endpoint's: `/mcp/sales` */
export async function post (
  url: string, path: string, request: { body: string, headers: Record<string, string> }, headers: object = {}
) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...request.headers,
      ...headers
    },
    body: request.body
  })
  const text = await response.text()
  const [, data = text] = /^data: (.*)$/m.exec(text) ?? []
  return { status: response.status, headers: response.headers, body: data === '' ? undefined : JSON.parse(data) }
}
