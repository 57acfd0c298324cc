import { createWriteStream } from 'node:fs'
import { rename } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { RegistryUnreachable } from './provider.ts'

const LIMIT_MS = 600_000

/** Downloads a file, which appears only when it is complete. @throws RegistryUnreachable */
export async function download (url: string, file: string): Promise<void> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(LIMIT_MS) })
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
    await pipeline(Readable.fromWeb(answer.body as never), createWriteStream(`${file}.part`))
  } catch (err) {
    throw new RegistryUnreachable(`${url}: ${(err as Error).message}`, { cause: err })
  }
  await rename(`${file}.part`, file)
}
