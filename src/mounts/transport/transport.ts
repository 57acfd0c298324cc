import type { Transport } from '@modelcontextprotocol/client'
import { createHttpTransport } from './http-transport.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { StdioTransport } from './stdio-transport.ts'
import type { TransportOptions } from './transport-options.ts'

/** Returns the transport of a new connection. Its `sessionId` is undefined unless a server can forget the session. */
export function createTransport (mount: Mount, options: TransportOptions): Transport {
  const { process } = mount
  return process === undefined ? createHttpTransport(mount, options) : new StdioTransport(process, options)
}
