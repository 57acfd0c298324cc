/** The API for tests of extensions: `import { createTestClient } from 'seed-mcp-server/testing'`. */
export { ProtocolError } from '@modelcontextprotocol/server'
export { InsufficientAuthenticationError, InsufficientScopeError } from '../errors/bearer-error.ts'
export type { ClientAnswers, ElicitAnswer, ElicitQuestion } from './client-answers.ts'
export type { TestPrincipal } from './principal.ts'
export { createTestClient } from './test-client.ts'
export type { CallOptions, TestClient, TestClientOptions } from './test-client.ts'
