import type { IncomingMessage } from 'node:http'
import { isLoopbackAddress } from '../net/addresses.ts'

/** Returns whether a request was made on this machine and no proxy forwarded it. */
export function isLocalRequest ({ socket, headers }: IncomingMessage): boolean {
  const isForwarded = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined
  return !isForwarded && isLoopbackAddress(String(socket.remoteAddress))
}
