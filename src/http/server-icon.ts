import { readFileSync } from 'node:fs'

/** An image that this server shows for itself. */
export interface ServerIcon {
  bytes: Buffer
  mimeType: string
}

const MAX_BYTES = 262_144
const SVG_START = /^\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg[\s>]/s

const SIGNATURES: ReadonlyArray<[mimeType: string, matches: (bytes: Buffer) => boolean]> = [
  ['image/png', (bytes) => bytes.subarray(0, 8).equals(Buffer.from('89504e470d0a1a0a', 'hex'))],
  ['image/jpeg', (bytes) => bytes.subarray(0, 3).equals(Buffer.from('ffd8ff', 'hex'))],
  ['image/webp', (bytes) => bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP'],
  ['image/svg+xml', (bytes) => SVG_START.test(bytes.toString('utf8', 0, 4_096))]
]

/**
 * Reads the file of SERVER_ICON.
 * @throws Error if it cannot be read, is too large, or is no PNG, JPEG, WebP or SVG
 */
export function readServerIcon (path: string): ServerIcon {
  const bytes = readBytes(path)
  if (bytes.length > MAX_BYTES) throw new Error(`SERVER_ICON must have at most ${MAX_BYTES} bytes (${path})`)
  const [mimeType] = SIGNATURES.find(([, matches]) => matches(bytes)) ?? []
  if (mimeType === undefined) throw new Error(`SERVER_ICON must be a PNG, JPEG, WebP or SVG file (${path})`)
  return { bytes, mimeType }
}

function readBytes (path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (err) {
    throw new Error(`SERVER_ICON cannot be read: ${(err as Error).message}`, { cause: err })
  }
}
