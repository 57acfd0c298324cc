import { Type } from 'typebox'
import { defineTool } from '../define/tool.ts'

/** Shows callers what policies are evaluated against: their scopes, their groups and the names of their claims. */
export const whoami = defineTool({
  name: 'whoami',
  title: 'Who am I?',
  description: 'Returns what this server knows about the caller: who is signed in, through which client, with which ' +
    'scopes and groups, and until when.',
  input: Type.Object({}, { additionalProperties: false }),
  output: Type.Object({
    signedIn: Type.Boolean(),
    kind: Type.Optional(Type.Enum(['person', 'service'], {
      description: 'Whether a person is signed in, or a program calls that acts for itself'
    })),
    grantType: Type.Optional(Type.String({ description: 'The OAuth grant type that the caller came in by' })),
    subject: Type.Optional(Type.String()),
    issuer: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    email: Type.Optional(Type.String()),
    clientId: Type.Optional(Type.String({ description: 'The client that the access token was issued to' })),
    scopes: Type.Optional(Type.Array(Type.String())),
    groups: Type.Optional(Type.Array(Type.String())),
    authenticatedAt: Type.Optional(Type.String({
      description: 'When the person last signed in at the identity provider, ISO 8601'
    })),
    acr: Type.Optional(Type.String({ description: 'The level of that sign-in, by the provider\'s name for it' })),
    claims: Type.Optional(Type.Array(Type.String(), {
      description: 'Names of the claims in the access token, without their values'
    })),
    expiresAt: Type.Optional(Type.String({ description: 'Expiry of the access token, ISO 8601' })),
    client: Type.Object({
      name: Type.Optional(Type.String()),
      version: Type.Optional(Type.String()),
      capabilities: Type.Array(Type.String())
    }, { description: 'The client\'s own description of itself' })
  }),
  annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
  handler (_input, { principal, client: { name, version, capabilities } }) {
    const client = {
      ...(name !== undefined && { name }),
      ...(version !== undefined && { version }),
      capabilities: Object.keys(capabilities).sort()
    }
    if (principal === undefined) return { signedIn: false, client }
    return {
      signedIn: true,
      kind: principal.kind,
      ...(principal.grantType !== undefined && { grantType: principal.grantType }),
      subject: principal.subject,
      issuer: principal.issuer,
      ...(principal.name !== undefined && { name: principal.name }),
      ...(principal.email !== undefined && { email: principal.email }),
      ...(principal.clientId !== undefined && { clientId: principal.clientId }),
      scopes: [...principal.scopes],
      groups: [...principal.groups],
      ...(principal.authenticatedAt !== undefined && { authenticatedAt: toIsoString(principal.authenticatedAt) }),
      ...(principal.acr !== undefined && { acr: principal.acr }),
      claims: Object.keys(principal.claims).sort(),
      expiresAt: toIsoString(principal.expiresAt),
      client
    }
  }
})

function toIsoString (seconds: number): string {
  return new Date(seconds * 1_000).toISOString()
}
