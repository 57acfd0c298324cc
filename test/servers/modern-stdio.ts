import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { createModernServer } from './modern-server.ts'

/** The server of the SDK, version 2, as a program on stdio. */
serveStdio(createModernServer, { legacy: 'reject' })
