import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { grantKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'

/**
 * A grant: that a person lets a client act for them, from sign-in until it is revoked or has run out. Access tokens
 * and refresh tokens come from it; the provider's own tokens lie in it, sealed.
 *
 * Its refresh tokens are numbered. One is `<grant id>.<number>.<key id>.<MAC>`: the MAC is over grant, number and a salt
 * of the grant's, so neither the store nor SEED_SECRET alone can make one, and the successor of a token is always the
 * same. The grant keeps the number and the hash of the current one. What a store that lost its last writes has
 * forgotten is thus seen: a token with a higher number than the grant's is ours, and lower ones stay spent.
 */
export interface Grant {
  id: string
  clientId: string
  /** `sub` at the provider. */
  subject: string
  /** Space-separated. */
  scope: string
  /** What the provider says of the person, for access rules and access tokens. */
  claims: Record<string, unknown>
  /** The session at the provider, for back-channel logout. */
  sid?: string | undefined
  refreshes: boolean
  /** Seconds since the epoch; refreshing does not move it. */
  expiresAt: number
  /** The provider's tokens, sealed (UpstreamGrantTokens). */
  upstream: string
  salt: string
  /** Of the current refresh token: its number, the key that made it, its SHA-256, and when (milliseconds) it replaced its predecessor. */
  number: number
  keyId: string
  currentHash: string
  rotatedAt: number
}

/** What the provider gave, kept sealed: never returned, never logged. */
export interface UpstreamGrantTokens {
  accessToken: string
  refreshToken: string | undefined
  /** Of the access token, in seconds since the epoch; undefined when the provider did not say, and in records of older versions. */
  accessExpiresAt?: number | undefined
}

export interface NewGrant {
  clientId: string
  subject: string
  scope: string
  claims: Record<string, unknown>
  sid: string | undefined
  refreshes: boolean
  upstream: UpstreamGrantTokens
}

export interface RefreshToken {
  grantId: string
  number: number
  keyId: string
  mac: string
}

/** Why a grant ended, for the log. */
export type RevocationReason = 'revoked by the client' | 'revoked by the operator' | 'logged out at the provider' | 'authorization code used twice' | 'refresh token used again after the grace window' | 'ended by the provider' | 'refused by an access rule'

export interface Grants {
  /** A grant whose authorization code is on its way: it can be revoked already, and lives in the code until that is redeemed. */
  create (details: NewGrant): Promise<Grant>
  /** The client has redeemed the code. A grant that was revoked meanwhile is not kept. */
  activate (grant: Grant): Promise<Grant>
  find (grantId: string): Promise<{ grant: Grant, record: string } | undefined>
  /** Writes what became of the grant, if nobody else did since `record` was read. */
  replace (record: string, grant: Grant): Promise<boolean>
  /** The grant's current refresh token. */
  refreshToken (grant: Grant): string
  /** The grant as it is when token `number` has been replaced. */
  rotate (grant: Grant, number: number): Grant
  /** Whether Seed made this refresh token for this grant. */
  isGenuine (token: RefreshToken, grant: Grant): boolean
  /** @throws OAuthError when SEED_SECRET no longer opens them */
  upstreamTokens (grant: Grant): UpstreamGrantTokens
  seal (grantId: string, tokens: UpstreamGrantTokens): string
  /** Ends the grant and its access tokens on every replica, and the provider's token where it can be; one that is unknown too. */
  revoke (grantId: string, reason: RevocationReason): Promise<void>
  /** Ends every grant of a subject, of a client, or of a session at the provider. @returns how many */
  revokeAll (of: { subject: string } | { clientId: string } | { sid: string }, reason: RevocationReason): Promise<number>
}

export interface GrantsOptions {
  store: Store
  secrets: Keyring
  revocations: Revocations
  upstream: Pick<TokenClient, 'revoke'>
  accessTokenTtlSeconds: number
  refreshTokenTtlSeconds: number
  maxAgeSeconds: number
  /** For grants whose provider gives no refresh token, so that nobody can ask it whether the person is still welcome. */
  maxAgeUncheckedSeconds: number
  log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
  /** Wall clock in milliseconds. */
  now?: () => number
}

/** Requests to the provider that run side by side. */
const REVOCATIONS_AT_ONCE = 10

export function createGrants (options: GrantsOptions): Grants {
  const { store, secrets, revocations, upstream, log, now = Date.now } = options
  const currentKey = secrets.generations[0]!.id

  function ttlOf ({ expiresAt, refreshes }: Grant): number {
    const left = expiresAt - Math.floor(now() / 1_000)
    return Math.max(1, Math.min(left, refreshes ? options.refreshTokenTtlSeconds : options.accessTokenTtlSeconds))
  }

  function write (grant: Grant, number: number): Grant {
    const unsigned = { ...grant, number, keyId: currentKey, rotatedAt: now() }
    return { ...unsigned, currentHash: digest(tokenOf(unsigned)) }
  }

  function tokenOf ({ id, number, keyId, salt }: Pick<Grant, 'id' | 'number' | 'keyId' | 'salt'>): string {
    return `${id}.${number}.${keyId}.${secrets.mac(keyId, `refresh:${id}:${number}:${salt}`)}`
  }

  function upstreamTokens (grant: Grant): UpstreamGrantTokens {
    const opened = secrets.open(grant.upstream, keys.grant(grant.id))
    if (opened !== undefined) return JSON.parse(opened) as UpstreamGrantTokens
    throw new OAuthError('invalid_grant', 'The grant can no longer be read: sign in again', { detail: 'its upstream tokens are sealed with another SEED_SECRET (SEED_SECRET_PREVIOUS)' })
  }

  /** Here all of them end first: the provider may take its time. */
  async function revokeAll (ids: string[], reason: RevocationReason): Promise<number> {
    const found = await Promise.all(ids.map(grants.find))
    await revocations.revoke(ids.map(grantKey))
    await Promise.all(ids.map(async (id) => await store.delete(keys.grant(id))))
    const ended = found.flatMap((one) => one?.grant ?? [])
    for (const { id, subject, clientId } of ended) log.info({ grant: id, subject, clientId, reason }, 'A grant has ended')
    for (let at = 0; at < ended.length; at += REVOCATIONS_AT_ONCE) await Promise.all(ended.slice(at, at + REVOCATIONS_AT_ONCE).map(revokeUpstream))
    return ended.length
  }

  async function revokeUpstream (grant: Grant): Promise<void> {
    try {
      const { refreshToken, accessToken } = upstreamTokens(grant)
      await upstream.revoke(refreshToken ?? accessToken, refreshToken === undefined ? 'access_token' : 'refresh_token')
    } catch (err) {
      log.warn({ grant: grant.id, reason: (err as OAuthError).detail ?? (err as Error).message }, "A grant has ended here; the provider's token could not be revoked")
    }
  }

  const grants: Grants = {
    async create ({ upstream: tokens, ...details }) {
      const id = randomId(16)
      const maxAge = tokens.refreshToken === undefined ? Math.min(options.maxAgeUncheckedSeconds, options.maxAgeSeconds) : options.maxAgeSeconds
      const grant = write({
        ...details,
        id,
        expiresAt: Math.floor(now() / 1_000) + maxAge,
        upstream: grants.seal(id, tokens),
        salt: randomId(16),
        number: 0,
        keyId: '',
        currentHash: '',
        rotatedAt: 0
      }, 0)
      for (const name of indexes(grant)) await store.addMember(keys.grantsOf(digest(name)), id, maxAge)
      return grant
    },

    /** First written, then looked whether it was revoked: whoever revokes marks first and deletes then, so one of the two sees the other. */
    async activate (begun) {
      const grant = write(begun, 1)
      await store.set(keys.grant(grant.id), JSON.stringify(grant), ttlOf(grant))
      if (await revocations.isRevoked([grantKey(grant.id)], 0)) await store.delete(keys.grant(grant.id))
      return grant
    },

    async find (grantId) {
      const record = await store.get(keys.grant(grantId))
      return record === undefined ? undefined : { grant: JSON.parse(record) as Grant, record }
    },

    replace: async (record, grant) => await store.compareAndSet(keys.grant(grant.id), record, JSON.stringify(grant), ttlOf(grant)),
    refreshToken: tokenOf,
    rotate: (grant, number) => write(grant, number + 1),

    isGenuine ({ grantId, number, keyId, mac }, { id, salt }) {
      const expected = secrets.mac(keyId, `refresh:${grantId}:${number}:${salt}`)
      return grantId === id && expected !== undefined && timingSafeEquals(mac, expected)
    },

    upstreamTokens,
    seal: (grantId, tokens) => secrets.seal(JSON.stringify(tokens), keys.grant(grantId)),

    revoke: async (grantId, reason) => { await revokeAll([grantId], reason) },

    async revokeAll (of, reason) {
      const [[kind, value]] = Object.entries(of) as [[string, string]]
      return await revokeAll(await store.members(keys.grantsOf(digest(`${kind}:${value}`))), reason)
    }
  }
  return grants
}

/** What a grant keeps of the provider's answer. @param now wall clock in milliseconds */
export function toStoredTokens ({ accessToken, refreshToken, expiresInSeconds }: UpstreamTokens, now: number): UpstreamGrantTokens {
  return { accessToken, refreshToken, accessExpiresAt: expiresInSeconds === undefined ? undefined : Math.floor(now / 1_000) + expiresInSeconds }
}

/** Under what a grant is found again to be revoked. */
function indexes ({ subject, clientId, sid }: Grant): string[] {
  return [`subject:${subject}`, `clientId:${clientId}`, ...(sid === undefined ? [] : [`sid:${sid}`])]
}

/** Takes a refresh token apart; undefined for what cannot be one. */
export function readRefreshToken (token: string): RefreshToken | undefined {
  const match = /^([\w-]{22})\.(\d{1,9})\.([\w-]{8})\.([\w-]{43})$/.exec(token)
  if (match === null) return undefined
  const [, grantId, number, keyId, mac] = match as unknown as [string, string, string, string, string]
  return { grantId, number: Number(number), keyId, mac }
}
