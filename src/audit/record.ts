import { Type } from 'typebox'
import type { Static } from 'typebox'

const text = (maxLength: number, description: string) => Type.Optional(Type.String({ maxLength, description }))

/** The form of a line of the audit log, published as docs/audit-log.schema.json. */
export const AuditRecordSchema = Type.Object({
  audit: Type.Literal(1, { description: 'The version of this form. It tells audit lines from others in one output.' }),
  time: Type.String({ format: 'date-time', description: 'When it ended: UTC, with milliseconds.' }),
  event: Type.Enum([
    'tools/call', 'prompts/get', 'resources/read', 'sign_in', 'refresh', 'registration', 'revocation', 'refusal',
    'configuration'
  ], { description: 'What happened. Calls have the name of their MCP method.' }),
  outcome: Type.Enum(['ok', 'error', 'refused', 'cancelled', 'unavailable', 'input_required'], {
    description: 'ok: done. error: the handler failed, or returned a result with isError. refused: not allowed, not ' +
      'valid, or beyond a limit. cancelled: the client stopped waiting, or the server shut down. unavailable: ' +
      'something that the server needs was away. input_required: the client was asked for more, and sends the call ' +
      'again.'
  }),
  replica: Type.String({ maxLength: 300, description: 'Host name and process id of the server.' }),
  request: text(64, 'The reference of the HTTP request, as in the log, in X-Request-Id and on error pages.'),
  trace: text(32, 'The trace id of the traceparent that the client sent (W3C Trace Context).'),
  address: text(64, 'IP address of the client.'),
  issuer: text(512, 'iss of the access token.'),
  subject: text(512, 'sub of the access token: the person, or the client id of a service.'),
  principalKind: Type.Optional(Type.Literal('service', {
    description: 'The caller is a service: a program that acts for itself. Absent for people.'
  })),
  grantType: text(64, 'The OAuth grant type of a sign_in without a browser.'),
  client: text(512, 'Client id. In a refusal it may be what the client claims to be.'),
  kind: Type.Optional(Type.Enum(['configured', 'registered', 'document', 'unregistered'], {
    description: 'The source of the client: OAUTH_CLIENTS, registration, metadata document, or an id of its own.'
  })),
  grant: text(64, 'The grant of broker mode, or the family of refresh tokens of proxy mode.'),
  endpoint: text(64, 'Path of the MCP endpoint of a call; absent for /mcp.'),
  target: text(512, 'Name of the tool or prompt, URI of the resource, or path of a refused request.'),
  argumentsDigest: text(64, 'HMAC-SHA-256 of the arguments, base64url: equal for equal arguments (AUDIT_ARGUMENTS).'),
  arguments: Type.Optional(Type.Unknown({ description: 'The arguments, redacted (AUDIT_ARGUMENTS=full).' })),
  ms: Type.Optional(Type.Number({ minimum: 0, description: 'Duration in milliseconds.' })),
  error: text(64, 'Error code: of OAuth, of the bearer check, or an HTTP status.'),
  reason: text(512, 'Why it failed, as in the log.'),
  count: Type.Optional(Type.Integer({
    minimum: 1,
    description: 'Refusals by a limit that this line stands for: those of its address and endpoint, or of its ' +
      'person, that had no line of their own in a minute. The other members are those of the last one.'
  })),
  configuration: Type.Optional(Type.Object({}, {
    additionalProperties: true, description: 'The settings at start, without secrets.'
  })),
  lost: Type.Optional(Type.Integer({
    minimum: 1, description: 'Lines that this server could not write since its start.'
  })),
  chain: text(24, 'The chain of this line (AUDIT_CHAIN_KEY).'),
  seq: Type.Optional(Type.Integer({ minimum: 1, description: 'The number of this line in its chain.' })),
  prev: text(43, 'hash of the line before in the chain; empty in the first.'),
  hash: text(43, 'HMAC-SHA-256 of this line without this member, base64url.')
}, { additionalProperties: false, $id: 'https://json-schema.org/seed-mcp-server/audit-log-1' })

export type AuditRecord = Static<typeof AuditRecordSchema>

/** Members that a caller of the audit log knows. The log adds time, replica, digest, and the members of the chain. */
export type AuditEntry = {
  [Name in keyof Omit<AuditRecord, LogMember | 'event' | 'outcome'>]?: AuditRecord[Name] | undefined
} & Pick<AuditRecord, 'event' | 'outcome'>

type LogMember = 'audit' | 'time' | 'replica' | 'argumentsDigest' | 'lost' | 'chain' | 'seq' | 'prev' | 'hash'
