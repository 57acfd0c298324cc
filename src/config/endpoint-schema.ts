import { Type } from 'typebox'
import type { Static } from 'typebox'
import { NonEmptyName } from '../json/member-names.ts'
import { selectionSchema, toolSelectionSchema } from './selection-schema.ts'

/**
 * The file of SEED_ENDPOINTS. Its JSON schema is published as docs/endpoints.schema.json, for editors; descriptions are
 * for both. A test keeps the two equal.
 */

const CLOSED = { additionalProperties: false }

const Text = Type.String({ minLength: 1, maxLength: 1_024 })
const Domain = Type.String({ pattern: '^@?[^@\\s]+$', maxLength: 256 })
const ClaimValue = Type.Union([Type.String({ minLength: 1 }), Type.Number(), Type.Boolean()])

const AccessSchema = Type.Object({
  groups: Type.Optional(Type.Array(Text, {
    minItems: 1, maxItems: 100, description: 'Groups of which the caller must be in one'
  })),
  emailDomains: Type.Optional(Type.Array(Domain, {
    minItems: 1, maxItems: 100, description: 'Domains of which the e-mail address must be in one'
  })),
  hostedDomains: Type.Optional(Type.Array(Domain, {
    minItems: 1, maxItems: 100, description: 'Google Workspace domains of which the account must be in one'
  })),
  claims: Type.Optional(Type.Record(NonEmptyName, Type.Union([
    ClaimValue, Type.Array(ClaimValue, { minItems: 1, maxItems: 100 })
  ]), { ...CLOSED, description: 'Claims that the provider must report: each the value, or one of the values' }))
}, { ...CLOSED, description: 'Rules for who may use the endpoint, besides the ACCESS_ settings' })

const offers = {
  mounts: Type.Optional(Type.Union([Type.Boolean(), Type.Array(Text, { maxItems: 1_000 })], {
    description: 'Mounted servers (SEED_MOUNTS) of the endpoint, by name; true: all. ' +
      'Default: none, and for `main` those that no other endpoint names'
  })),
  tools: Type.Optional(toolSelectionSchema('Names of tools, with the prefix of a mount')),
  prompts: Type.Optional(selectionSchema('Names of prompts, with the prefix of a mount')),
  resources: Type.Optional(selectionSchema('URIs of resources, and URI templates'))
}

const EndpointSchema = Type.Object({
  name: Type.Optional(Type.String({
    pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,97}$',
    description: 'The name of the server for clients. Default: SERVER_NAME, - and the name of the endpoint'
  })),
  title: Type.Optional(Type.String({
    minLength: 1, maxLength: 100, description: 'Default: SERVER_TITLE, : and the name of the endpoint'
  })),
  description: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })),
  instructions: Type.Optional(Type.String({ minLength: 1, maxLength: 16_384, description: 'For the model' })),
  scopes: Type.Optional(Type.Array(Type.String({ pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,256}$' }), {
    minItems: 1, maxItems: 100, description: 'Scopes that clients are told to ask for. Default: OIDC_SCOPES'
  })),
  access: Type.Optional(AccessSchema),
  ...offers
}, CLOSED)

export const EndpointsFileSchema = Type.Object({
  $schema: Type.Optional(Type.String()),
  main: Type.Optional(Type.Object({ access: Type.Optional(AccessSchema), ...offers }, {
    ...CLOSED, description: 'The endpoint /mcp, whose name and instructions are SERVER_NAME and so on'
  })),
  endpoints: Type.Optional(Type.Record(Type.String({ pattern: '^[a-z][a-z0-9-]{0,31}$' }), EndpointSchema, {
    ...CLOSED,
    maxProperties: 50,
    description: 'Further endpoints: /mcp/NAME for each name of lower-case letters, digits and -'
  }))
}, { ...CLOSED, title: 'SEED_ENDPOINTS', description: 'MCP endpoints besides /mcp (docs/endpoints.md)' })

export type EndpointsFile = Static<typeof EndpointsFileSchema>
export type EndpointEntry = Static<typeof EndpointSchema>
export type AccessEntry = Static<typeof AccessSchema>
