import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { createConnectionActivity } from '../connections/activity.ts'
import { createKeyring } from '../crypto/keyring.ts'
import { randomId } from '../crypto/hash.ts'
import { createSharedCounters } from '../limits/shared-counters.ts'
import { createRegistrations } from '../oauth/clients/registrations.ts'
import type { Store } from '../store/store.ts'

/** Time for the replicas to say what they count; they do so at once. */
const REPLICAS_ANSWER_MS = 500

/** Reads the sessions of connections from the store, and asks the replicas for the streams. */
export async function openConnectionActivity (config: Config, store: Store) {
  const { oauth: { registration }, secrets } = config
  const counters = createSharedCounters(store, { replicaId: randomId(9) })
  const openStreams = counters.gauge('streams')
  const keyring = createKeyring(secrets.current, secrets.previous)
  const registrations = createRegistrations({
    store, ttlSeconds: registration.clientTtlSeconds, findKeyring: async () => keyring
  })
  const { describe } = createConnectionActivity({
    config, store, registrations, openStreams: (personKey) => openStreams.total(personKey)
  })
  await delay(REPLICAS_ANSWER_MS)
  return { describe, close: counters.close }
}
