import { hostname } from 'node:os'
import { Type } from 'typebox'
import { randomId } from '../crypto/hash.ts'
import { keys } from '../store/keys.ts'
import { defineMessage } from '../store/record.ts'
import { ignoreOutage } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import type { AuditTrail } from './audit-log.ts'

const CHANNEL = 'operator-revocations'
/** Replicas that hear of a revocation within this time do not write it again. */
const WRITTEN_SECONDS = 60

/** Of any length, as a client id may contain a registration: the audit log shortens it. */
const Text = Type.Optional(Type.String())
const OperatorRevocationSchema = Type.Object({
  id: Type.String({ maxLength: 64 }),
  issuer: Text,
  subject: Text,
  client: Text,
  grant: Text,
  reason: Text,
  outcome: Type.Optional(Type.Enum(['ok', 'unavailable']))
})

const message = defineMessage('message about a revocation of the operator', OperatorRevocationSchema)

/** Whose access a command of the operator has ended: a person's, a client's, or that of one grant. */
export interface OperatorRevocation {
  issuer: string
  subject?: string | undefined
  client?: string | undefined
  grant?: string | undefined
  /** `unavailable` if the store failed half-way; without, it has ended. */
  outcome?: 'ok' | 'unavailable' | undefined
}

/**
 * Tells the replicas what a command has revoked, as the audit logs are theirs: one of them writes the line. With no
 * replica there is none.
 */
export async function announceRevocation (store: Store, revocation: OperatorRevocation): Promise<void> {
  const reason = `revoked by the operator at ${hostname()}`
  const text = JSON.stringify({ ...revocation, id: randomId(16), reason })
  // By its id the second message is no second line, where the first has arrived all the same.
  await store.publish(CHANNEL, text).catch(async () => { await store.publish(CHANNEL, text) })
}

/** Writes the lines of revocations that commands announce, each on one of the replicas. */
export function recordAnnouncedRevocations (store: Store, audit: AuditTrail): void {
  async function record (text: string): Promise<void> {
    const revocation = message.parse(store, text)
    if (revocation === undefined) return
    const { id, ...rest } = revocation
    if (!await store.setIfAbsent(keys.recordedRevocation(id), '1', WRITTEN_SECONDS)) return
    audit.record({ event: 'revocation', outcome: 'ok', ...rest })
  }

  // What is announced during an outage may be missed: the command has printed it.
  store.subscribe(CHANNEL, (text) => { record(text).catch(ignoreOutage) }, () => {})
}
