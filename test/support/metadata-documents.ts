import type { IncomingHttpHeaders } from 'node:http'
import type { Test } from 'tap'
import { FetchError } from '../../src/net/fetch.ts'
import type { PublicDocument } from '../../src/net/public-fetch.ts'
import { createMetadataDocuments } from '../../src/oauth/clients/metadata-document-cache.ts'
import type { MetadataDocumentsOptions } from '../../src/oauth/clients/metadata-document-cache.ts'

export const PROBE = 'https://probe.example/client'
export const ID = 'https://client.example/oauth/client.json'
export const JWKS_URI = 'https://client.example/oauth/keys.json'
export const KEY = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  kid: 'one'
}

export type Members = Record<string, unknown>
export type StubResponse = Error | { status?: number, headers?: IncomingHttpHeaders, body: string }

export const document = (id: string, members: Members = {}): Members => ({
  client_id: id,
  client_name: 'Client',
  redirect_uris: ['http://localhost/callback'],
  ...members
})
export const json = (value: unknown, headers: IncomingHttpHeaders = {}): StubResponse => ({
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(value)
})
export const unreachable = () => new FetchError('https://somewhere cannot be reached (ENOTFOUND)', { network: true })

/**
 * Metadata documents whose every URL has a valid document, unless `responses` says otherwise or `state.offline` is set,
 * and whose clock the test moves.
 */
export function createFixture (t: Test, options: Partial<MetadataDocumentsOptions> = {}) {
  const responses = new Map<string, StubResponse>()
  const fetched: string[] = []
  const logged: Array<{ level: string, fields: object, message: string }> = []
  const state = { ms: 0, offline: false }
  const log = (level: string) => (fields: object, message: string) => { logged.push({ level, fields, message }) }
  const documents = createMetadataDocuments({
    async fetchDocument (url): Promise<PublicDocument> {
      fetched.push(url)
      await Promise.resolve()
      const response = state.offline ? unreachable() : responses.get(url) ?? json(document(url))
      if (response instanceof Error) throw response
      return { status: 200, headers: {}, ...response }
    },
    enabled: true,
    probeUrl: PROBE,
    allowedHosts: [],
    redirectUriSchemes: ['cursor'],
    log: { info: log('info'), warn: log('warn') },
    now: () => state.ms,
    ...options
  })
  t.teardown(() => { documents.close() })
  const find = async (clientId: string, requester = ADDRESS) => await documents.find(clientId, requester)
  return { documents: { ...documents, find }, responses, fetched, logged, state }
}

/** Address of the requester in tests that are not about it. */
export const ADDRESS = '192.0.2.1'

/** Waits until what was started in the background is done. */
export const settle = async () => { await new Promise((resolve) => { setImmediate(resolve) }) }

export const invalid = (message: string | RegExp) => ({ name: 'OAuthError', code: 'invalid_client', message })
/** The one answer for every failure; only the log has the reason. */
export const unusable = (why: string | RegExp) =>
  ({ ...invalid('The client metadata document cannot be used'), statusCode: 401, detail: why })
export const limited = (retryAfterSeconds: number) =>
  ({ name: 'OAuthError', code: 'temporarily_unavailable', statusCode: 429, retryAfterSeconds })
