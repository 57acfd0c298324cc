import type { Mount } from './mounts-file.ts'
import { withoutQuery } from './request-headers.ts'

/** Returns where a mounted server is: its URL without the query, which may have a key, or its command. */
export function describePlace ({ url, process }: Mount): { url: string } | { command: string } {
  return process === undefined ? { url: withoutQuery(url!) } : { command: process.command }
}
