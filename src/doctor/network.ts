import type { Config } from '../config/config.ts'
import { parseJsonObject } from '../net/fetch.ts'
import type { FetchPublicDocument } from '../net/public-fetch.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { REQUEST_MS } from './within.ts'

/** Whether client ID metadata documents can be fetched from here; otherwise the server does not advertise them. */
export async function checkMetadataDocuments (
  { authRequired, oauth: { metadataDocuments: { enabled, probeUrl } } }: Config, fetchDocument: FetchPublicDocument
): Promise<Finding[]> {
  if (!authRequired || !enabled) return []
  const about = question('network.client-metadata-documents', `GET ${probeUrl} (CIMD_PROBE_URL)`)
  try {
    const { status, body } = await fetchDocument(probeUrl, { timeoutMs: REQUEST_MS })
    if (status === 200 && parseJsonObject(body)?.['client_id'] === probeUrl) {
      return [about.ok('200 and a metadata document', 'Client metadata documents can be fetched')]
    }
    return [about.warning(`${status} and no metadata document`, 'Metadata documents are not advertised, and clients ' +
      'register instead: set another CIMD_PROBE_URL', { setting: 'CIMD_PROBE_URL' })]
  } catch (err) {
    return [about.warning((err as Error).message, 'Metadata documents are not advertised, and clients register ' +
      'instead: ' +
      'let Seed reach that URL, or set CIMD_ENABLED=false', { setting: 'CIMD_ENABLED', value: 'false' })]
  }
}
