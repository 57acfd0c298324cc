import { Type } from 'typebox'
import type { Static } from 'typebox'
import { selectionMembers, selectionSchema, toolSelectionMembers } from '../../config/selection-schema.ts'
import { NonEmptyName } from '../../json/member-names.ts'

/**
 * The file of SEED_MOUNTS. Its JSON schema is published as docs/mounts.schema.json, for editors; descriptions are for
 * both. A test keeps the two equal.
 */

const CLOSED = { additionalProperties: false }

const HEADER_NAME = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
const Text = Type.String({ minLength: 1, maxLength: 1_024 })
const ClaimValue = Type.Union([Type.String(), Type.Number(), Type.Boolean()])
const ClaimRule = Type.Union([ClaimValue, Type.Array(ClaimValue, { maxItems: 100 })])

const policy = {
  scopes: Type.Optional(Type.Array(Text, {
    maxItems: 100, description: 'Scopes that the access token must have, all of them'
  })),
  groups: Type.Optional(Type.Array(Text, {
    maxItems: 100, description: 'Groups of which the caller must be in one'
  })),
  claims: Type.Optional(Type.Record(NonEmptyName, ClaimRule, {
    ...CLOSED,
    description: 'Claims that the access token must have: each the value, or one of the values'
  })),
  principalKind: Type.Optional(Type.Enum(['person', 'service'], {
    description: 'person: not for services; service: not for people. Both by default'
  })),
  maxAge: Type.Optional(Type.Integer({
    minimum: 60, description: 'Seconds that may have passed since the person signed in'
  })),
  acr: Type.Optional(Type.Array(Type.String({ pattern: '^\\S{1,256}$' }), {
    minItems: 1, maxItems: 20, description: "Levels of the person's authentication, of which one is enough"
  }))
}

const NAMES = 'Names at the mounted server'

const CallsPerMinute = Type.Optional(Type.Integer({
  minimum: 1,
  maximum: 1_000_000,
  description: 'Limit of the calls of one person or service in a minute, over all replicas. Default: none'
}))

const OverrideSchema = Type.Object({
  name: Type.Optional(Type.String({
    pattern: '^[A-Za-z0-9_.-]{1,64}$', description: 'Another name; the prefix of the mount stays before it'
  })),
  title: Type.Optional(Text),
  description: Type.Optional(Type.String({
    minLength: 1, maxLength: 65_536, description: 'Another text for the model, or for people who choose a prompt'
  })),
  timeoutSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600 })),
  callsPerMinute: CallsPerMinute,
  ...policy
}, { ...CLOSED, description: 'A rule given here replaces the same rule of the mount' })

const ToolSelectionSchema = Type.Union([Type.Boolean(), Type.Object({
  ...toolSelectionMembers(NAMES),
  overrides: Type.Optional(Type.Record(NonEmptyName, OverrideSchema, {
    ...CLOSED,
    description: 'Changes of single tools, by their names at the mounted server'
  }))
}, CLOSED)])

const PromptSelectionSchema = Type.Union([Type.Boolean(), Type.Object({
  ...selectionMembers(NAMES),
  overrides: Type.Optional(Type.Record(NonEmptyName, OverrideSchema, {
    ...CLOSED,
    description: 'Changes of single prompts, by their names at the mounted server'
  }))
}, CLOSED)])

const SecretSchema = Type.Object({
  file: Type.String({ minLength: 1, description: 'A file with the secret; relative to this one' }),
  header: Type.Optional(Type.String({ pattern: HEADER_NAME, description: 'Default: Authorization' })),
  scheme: Type.Optional(Type.String({
    pattern: '^[A-Za-z0-9-]*$', description: 'Text before the secret; "" for none. Default: Bearer in Authorization'
  }))
}, { ...CLOSED, description: 'A fixed secret that Seed sends with every request, whoever calls' })

const PinSchema = Type.Object({
  file: Type.String({
    minLength: 1, description: 'The file that `seed mounts accept` writes; relative to this one'
  }),
  resources: Type.Optional(Type.Boolean({
    description: 'Hides single resources too that are new or differ, but for size and date. Default: false'
  }))
}, { ...CLOSED, description: 'Hides tools, prompts and resource templates that are new or differ until accepted' })

/** The operating system takes no text with a NUL. */
const PROCESS_TEXT = '^[^\\u0000]*$'
const VARIABLE_NAME = '^[A-Za-z_][A-Za-z0-9_]*$'

const TokenForSchema = Type.Object({
  audience: Type.String({
    minLength: 1, maxLength: 1_024, description: 'The name by which the identity provider knows the server'
  }),
  resource: Type.Optional(Type.String({
    minLength: 1, maxLength: 2_048, description: "The server's URI, for providers that tell servers apart by `resource`"
  })),
  scopes: Type.Optional(Type.Array(Type.String({ pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$', maxLength: 1_024 }), {
    maxItems: 100, description: 'Scopes of the token. Default: as the provider decides'
  })),
  allowServerToken: Type.Optional(Type.Boolean({
    description: "Fetches lists, and lets services call, with a token of Seed's own (client credentials)"
  }))
}, {
  ...CLOSED,
  description: "The caller's own token for the server, from the identity provider (RFC 8693). Needs OAUTH_MODE=broker"
})

const AssertionSchema = Type.Object({
  audience: Type.Optional(Type.String({
    minLength: 1, maxLength: 2_048, description: 'The claim `aud`. Default: the url, without its query'
  })),
  claims: Type.Optional(Type.Array(Type.String({ pattern: '^[\\x21-\\x7e]{1,256}$' }), {
    maxItems: 50, description: 'Further claims about the caller, such as email, name or groups'
  }))
}, { ...CLOSED, description: 'A JWT that says who calls, signed by Seed (/.well-known/jwks.json). Needs SEED_SECRET' })

const IdentitySchema = Type.Object({
  tokenFor: Type.Optional(TokenForSchema),
  assertion: Type.Optional(AssertionSchema),
  header: Type.Optional(Type.String({ pattern: HEADER_NAME, description: 'Default: Authorization' })),
  scheme: Type.Optional(Type.String({
    pattern: '^[A-Za-z0-9-]*$', description: 'Text before the token; "" for none. Default: Bearer in Authorization'
  }))
}, { ...CLOSED, description: 'Tells the server with each request who calls: one of tokenFor and assertion' })

/** One mounted server. */
export const MountSchema = Type.Object({
  url: Type.Optional(Type.String({
    minLength: 1, maxLength: 2_048, description: 'The Streamable HTTP endpoint of the server'
  })),
  command: Type.Optional(Type.String({
    pattern: PROCESS_TEXT,
    minLength: 1,
    maxLength: 4_096,
    description: 'Instead of url: a program that speaks MCP on stdio'
  })),
  args: Type.Optional(Type.Array(Type.String({ pattern: PROCESS_TEXT, maxLength: 32_768 }), {
    maxItems: 1_000, description: 'Arguments of the command. No shell reads them'
  })),
  env: Type.Optional(Type.Record(Type.String({ pattern: VARIABLE_NAME }), Type.String({
    pattern: PROCESS_TEXT, maxLength: 32_768
  }), { ...CLOSED, description: 'Environment variables of the command; not for secrets' })),
  envFiles: Type.Optional(Type.Record(Type.String({ pattern: VARIABLE_NAME }), Type.String({ minLength: 1 }), {
    ...CLOSED, description: 'Environment variables whose values are in files, for secrets; relative to this file'
  })),
  cwd: Type.Optional(Type.String({
    pattern: PROCESS_TEXT,
    minLength: 1,
    description: 'The folder in which the command runs; relative to this file. Default: the folder of this file'
  })),
  maxMemoryBytes: Type.Optional(Type.Integer({
    minimum: 16_777_216,
    maximum: 1_099_511_627_776,
    description: 'Limit of the memory of the process with its children, which are ended above it. ' +
      'Default: 1 GiB, or half of the memory limit of the container if that is less'
  })),
  headers: Type.Optional(Type.Record(Type.String({ pattern: HEADER_NAME }), Type.String({
    pattern: '^[\\x20-\\x7e]*$'
  }), { ...CLOSED, description: 'Headers of every request; not for secrets' })),
  secret: Type.Optional(SecretSchema),
  identity: Type.Optional(IdentitySchema),
  allowInsecureHttp: Type.Optional(Type.Boolean({
    description: 'Lets a secret, token or assertion travel by http to a host other than this machine'
  })),
  prefix: Type.Optional(Type.Boolean({
    description: 'false: what it offers keeps its names and URIs; for one mount of the file. Default: true'
  })),
  protocolVersion: Type.Optional(Type.Literal('2025-11-25', {
    description: 'Speaks this revision or an older one, without asking for 2026-07-28: for servers that know that ' +
      'one, but have tools which ask the client while a call runs. Default: the newest one that both know'
  })),
  connection: Type.Optional(Type.Enum(['shared', 'person', 'session'], {
    description: 'shared: one connection for all callers; person: one for each person and service; session: one for ' +
      'each MCP session, or for each person and client of 2026-07-28, which has no sessions. Default: shared'
  })),
  maxConnections: Type.Optional(Type.Integer({
    minimum: 1,
    maximum: 10_000,
    description: 'Limit of the connections of persons or sessions. Default: 100, or 20 processes'
  })),
  idleSeconds: Type.Optional(Type.Integer({
    minimum: 1,
    maximum: 86_400,
    description: 'Time after which an unused connection of a person or session is closed. Default: 300'
  })),
  tools: Type.Optional(ToolSelectionSchema),
  prompts: Type.Optional(PromptSelectionSchema),
  resources: Type.Optional(selectionSchema(NAMES)),
  pin: Type.Optional(PinSchema),
  timeoutSeconds: Type.Optional(Type.Integer({
    minimum: 1, maximum: 3_600, description: 'Limit of one call. Default: TOOL_TIMEOUT_SECONDS'
  })),
  maxConcurrentCalls: Type.Optional(Type.Integer({
    minimum: 1,
    maximum: 10_000,
    description: 'Limit of the requests of all callers that run at once, at each replica. Default: 100'
  })),
  callsPerMinute: CallsPerMinute,
  connectTimeoutSeconds: Type.Optional(Type.Integer({
    minimum: 1,
    maximum: 300,
    description: 'Limit of each request of a connection that is opened, and of each page of a list. Default: 10'
  })),
  maxResponseBytes: Type.Optional(Type.Integer({
    minimum: 1_024,
    maximum: 268_435_456,
    description: 'Limit of one response, and of one message of a stream. Default: MCP_MAX_RESULT_BYTES'
  })),
  refreshSeconds: Type.Optional(Type.Integer({
    minimum: 5,
    maximum: 86_400,
    description: 'Time after which the lists are fetched again. ' +
      'Default: what the server says (ttlMs), from 60 to 900; 300 if it says nothing'
  })),
  ...policy
}, CLOSED)

export const MountsFileSchema = Type.Object({
  $schema: Type.Optional(Type.String()),
  mounts: Type.Record(Type.String({ pattern: '^[a-z][a-z0-9-]{0,31}$' }), MountSchema, {
    ...CLOSED,
    description: 'MCP servers by the name that prefixes what they offer: lower-case letters, digits and -'
  })
}, { ...CLOSED, title: 'SEED_MOUNTS', description: 'MCP servers that Seed offers as its own (docs/mounts.md)' })

export type IdentityEntry = Static<typeof IdentitySchema>
export type MountEntry = Static<typeof MountSchema>
export type Override = Static<typeof OverrideSchema>
