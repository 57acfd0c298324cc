import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { DemandedAuthentication } from '../../../errors/bearer-error.ts'
import { keys } from '../../../store/keys.ts'
import { defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import { principalKey } from '../../../tokens/principal.ts'
import type { Principal } from '../../../tokens/principal.ts'
import type { Grant } from './grant.ts'

/** The members of DemandedAuthentication. JSON leaves out those that are undefined. */
export const DemandedAuthenticationSchema = Type.Object({
  maxAge: Type.Optional(Type.Union([Type.Integer(), Type.Undefined()])),
  acr: Type.Optional(Type.Union([Type.ReadonlyObject(Type.Array(Type.String())), Type.Undefined()]))
})

const DemandSchema = Type.Object({
  ...DemandedAuthenticationSchema.properties,
  /** The grant of the access token that was not enough. */
  grantId: Type.String()
})
/** The sign-in that a call of this person with this client needs, until they have signed in so. */
export type AuthenticationDemand = Static<typeof DemandSchema>

const demandRecord = defineRecord('demand for a sign-in', DemandSchema)

/** A client that answers the challenge does so at once; a person may need some minutes. */
const TTL_SECONDS = 600

export type AuthenticationDemands = ReturnType<typeof createAuthenticationDemands>

/** The person, the client and the MCP endpoint whose sign-in is demanded. */
type Owner = Pick<Grant, 'subject' | 'clientId' | 'endpoint'>

/**
 * The sign-ins that calls have been refused for, in the store (RFC 9470). MCP clients carry neither `max_age` nor
 * `acr_values` from a challenge to their authorization request, and most try their refresh token first. So the
 * authorization server remembers what the resource server has demanded, both being Seed.
 *
 * Only a verified access token makes a demand, one for its person, client and endpoint: nobody makes another person
 * sign in again, and nobody fills the store.
 *
 * @param issuer BASE_URL
 */
export function createAuthenticationDemands (store: Store, issuer: string) {
  const main = `${issuer}/mcp`
  const keyAt = (resource: string, { subject, clientId }: Pick<Owner, 'subject' | 'clientId'>): string =>
    keys.authenticationDemand(principalKey(resource === main ? issuer : resource, subject, clientId))
  const keyOf = (owner: Owner): string =>
    keyAt(owner.endpoint === undefined ? main : `${main}/${owner.endpoint}`, owner)

  return {
    /**
     * Remembers a demand, in place of the one before. Tokens without a grant are left out: their client comes with
     * another ID-JAG, and not to the authorization endpoint.
     */
    async add (principal: Principal, { maxAge, acr }: DemandedAuthentication): Promise<void> {
      const { subject, clientId, resource = main, grantType, claims } = principal
      if (grantType !== 'authorization_code') return
      const record = demandRecord.serialize({ maxAge, acr, grantId: String(claims['grant']) })
      await store.set(keyAt(resource, { subject, clientId: clientId! }), record, TTL_SECONDS)
    },

    async find (owner: Owner): Promise<AuthenticationDemand | undefined> {
      return (await demandRecord.find(store, keyOf(owner)))?.value
    },

    async delete (owner: Owner): Promise<void> {
      await store.delete(keyOf(owner))
    }
  }
}
