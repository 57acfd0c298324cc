/** What tests of extensions import: `import { createTestClient } from 'seed-mcp-server/testing'`. */
export { ProtocolError } from '@modelcontextprotocol/server'
export { InsufficientScopeError } from '../errors/bearer-error.ts'
export type { ElicitAnswer, ElicitQuestion } from './answering.ts'
export type { TestPrincipal } from './principal.ts'
export { createTestClient } from './test-client.ts'
export type { CallOptions, TestClient, TestClientOptions } from './test-client.ts'
