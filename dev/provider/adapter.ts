import type { Adapter, AdapterPayload } from 'oidc-provider'

export interface Storage {
  /** Opens the items of one model of `oidc-provider`. */
  open: (model: string) => Adapter
  /** Deletes everything that belongs to a user. */
  revoke: (login: string) => void
  size: () => number
}

/**
 * Storage for `oidc-provider`, whose own keeps 1,000 items, and a sign-in leaves six. Expired items are never returned;
 * they are deleted whenever the number of items has doubled.
 */
export function createStorage (sweepAt = 1000): Storage {
  const items = new Map<string, { payload: AdapterPayload, expiresAt: number }>()

  const find = (key: string) => {
    const item = items.get(key)
    return item !== undefined && item.expiresAt > Date.now() ? item.payload : undefined
  }
  const deleteWhere = (matches: (payload: AdapterPayload, expiresAt: number) => boolean) => {
    for (const [key, { payload, expiresAt }] of items) if (matches(payload, expiresAt)) items.delete(key)
  }

  const open = (model: string): Adapter => ({
    async upsert (id, payload, expiresIn) {
      const item = { payload, expiresAt: Date.now() + expiresIn * 1000 }
      items.set(`${model}:${id}`, item)
      if (payload.uid !== undefined) items.set(`${model}:uid:${payload.uid}`, item)
      if (items.size > sweepAt) {
        deleteWhere((_payload, expiresAt) => expiresAt <= Date.now())
        sweepAt = Math.max(sweepAt, items.size * 2)
      }
    },
    find: async (id) => find(`${model}:${id}`),
    findByUid: async (uid) => find(`${model}:uid:${uid}`),
    async consume (id) {
      const payload = find(`${model}:${id}`)
      // Undefined if a request that ran at the same time has revoked it.
      if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000)
    },
    async destroy (id) {
      const uid = items.get(`${model}:${id}`)?.payload.uid
      items.delete(`${model}:${id}`)
      items.delete(`${model}:uid:${uid}`)
    },
    async revokeByGrantId (grantId) { deleteWhere((payload) => payload.grantId === grantId) }
  })

  return { open, revoke: (login) => deleteWhere((payload) => payload.accountId === login), size: () => items.size }
}
