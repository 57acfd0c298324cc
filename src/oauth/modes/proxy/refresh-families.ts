import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { AuditTrail } from '../../../audit/audit-log.ts'
import { randomId } from '../../../crypto/hash.ts'
import type { Log } from '../../../logging/log.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import { keys } from '../../../store/keys.ts'
import { defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import { tokenKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { RefreshToken, RefreshTokenClient, RefreshTokenFormat } from './refresh-token-format.ts'
import type { FindKeyring } from '../../../crypto/keyring.ts'

const RefreshFamilySchema = Type.Object({
  clientId: Type.String(),
  /** Shown on the consent page; space-separated. */
  scope: Type.String(),
  /** Number of the current refresh token. */
  number: Type.Integer(),
  /** Milliseconds since the epoch: when the current refresh token replaced the one before. */
  rotatedAt: Type.Integer(),
  /** The response with the current refresh token, sealed; none for the first. */
  response: Type.Optional(Type.String()),
  /** Revocation keys of its latest access tokens. */
  accessTokens: Type.Array(Type.String())
})
/** The refresh tokens that follow one another from one sign-in. Without a record, none of them is good. */
export type RefreshFamily = Static<typeof RefreshFamilySchema>

const familyRecord = defineRecord('family of refresh tokens', RefreshFamilySchema)

/** A family as it was read. `record` is its text in the store, for a compare-and-set. */
export interface StoredFamily {
  family: RefreshFamily
  record: string
}

export interface RefreshFamiliesOptions {
  store: Store
  findKeyring: FindKeyring
  format: RefreshTokenFormat
  revocations: Pick<Revocations, 'revoke'>
  upstream: Pick<TokenClient, 'revoke'>
  /** REFRESH_TOKEN_TTL */
  ttlSeconds: number
  log: Pick<Log, 'info'>
  audit?: AuditTrail | undefined
  /** Wall clock in milliseconds. */
  now?: () => number
}

export type RefreshFamilies = ReturnType<typeof createRefreshFamilies>

/** Access tokens of a family that are remembered; older ones are left to expire. */
const MAX_ACCESS_TOKENS = 5

/** The families of refresh tokens in proxy mode, in the store. */
export function createRefreshFamilies (options: RefreshFamiliesOptions) {
  const { store, findKeyring, format, revocations, upstream, ttlSeconds, log, audit, now = Date.now } = options

  async function find (familyId: string): Promise<StoredFamily | undefined> {
    const stored = await familyRecord.find(store, keys.refreshFamily(familyId))
    return stored && { family: stored.value, record: stored.text }
  }

  /** @returns undefined for the first token of a family, and when the secret has changed since */
  async function currentResponse (familyId: string, { response }: RefreshFamily): Promise<TokenResponse | undefined> {
    if (response === undefined) return undefined
    const opened = (await findKeyring()).open(response, keys.refreshFamily(familyId))
    return opened === undefined ? undefined : JSON.parse(opened) as TokenResponse
  }

  /** Ends a family and its access tokens on every replica. The marks come first, so that a retry ends all of it. */
  async function end (familyId: string, reason: string): Promise<RefreshFamily | undefined> {
    const stored = await find(familyId)
    if (stored === undefined) return undefined
    const { clientId, accessTokens } = stored.family
    await revocations.revoke(accessTokens)
    await store.delete(keys.refreshFamily(familyId))
    log.info({ event: 'family.ended', family: familyId, clientId, reason }, 'A family of refresh tokens has ended')
    // The client's own revocation has a line of its request.
    if (reason !== 'revoked by the client') {
      audit?.record({ event: 'revocation', outcome: 'ok', grant: familyId, client: clientId, reason })
    }
    return stored.family
  }

  return {
    find,
    currentResponse,
    end,

    /** Begins a family with the provider's first refresh token. @returns the first refresh token for the client */
    async create (
      upstreamToken: string, client: RefreshTokenClient, scope: string, accessToken: string
    ): Promise<string> {
      const familyId = randomId(16)
      const family: RefreshFamily = {
        clientId: client.id, scope, number: 1, rotatedAt: now(), accessTokens: [tokenKey(accessToken)]
      }
      await store.set(keys.refreshFamily(familyId), familyRecord.serialize(family), ttlSeconds)
      return await format.seal({ familyId, number: 1, upstream: upstreamToken }, client)
    },

    /**
     * Makes the refresh token in `response` the current one.
     * @returns false when the family was changed or ended since it was read
     */
    async rotate (
      familyId: string, { family, record }: StoredFamily, number: number, response: TokenResponse
    ): Promise<boolean> {
      const sealed = (await findKeyring()).seal(JSON.stringify(response), keys.refreshFamily(familyId))
      const accessTokens = [...family.accessTokens, tokenKey(response.access_token)].slice(-MAX_ACCESS_TOKENS)
      const rotated = familyRecord.serialize({ ...family, number, rotatedAt: now(), response: sealed, accessTokens })
      return await store.compareAndSet(keys.refreshFamily(familyId), record, rotated, ttlSeconds)
    },

    /**
     * Ends the family of a refresh token here, then revokes the newest refresh token at the provider.
     *
     * @throws OAuthError, ProviderUnavailableError when it has ended here only
     */
    async revoke (token: RefreshToken, client: RefreshTokenClient, reason: string): Promise<void> {
      const family = await end(token.familyId, reason)
      const response = family === undefined ? undefined : await currentResponse(token.familyId, family)
      const newest = response?.refresh_token === undefined
        ? undefined
        : await format.open(response.refresh_token, client)
      await upstream.revoke(newest?.upstream ?? token.upstream, 'refresh_token')
    }
  }
}
