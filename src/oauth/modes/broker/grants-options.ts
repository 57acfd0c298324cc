import type { AuditTrail } from '../../../audit/audit-log.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Log } from '../../../logging/log.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Store } from '../../../store/store.ts'
import type { Revocations } from '../../../tokens/revocations.ts'

export interface GrantsOptions {
  store: Store
  keyring: Keyring
  revocations: Revocations
  upstream: Pick<TokenClient, 'revoke'>
  lifetimes: GrantLifetimes
  log: Pick<Log, 'info' | 'warn'>
  audit?: AuditTrail | undefined
  /** Wall clock in milliseconds. */
  now?: () => number
}

export interface GrantLifetimes {
  accessTokenTtlSeconds: number
  refreshTokenTtlSeconds: number
  maxAgeSeconds: number
  /** Maximum age without a refresh token of the provider, which could tell whether the person may still sign in. */
  maxAgeUncheckedSeconds: number
}
