import { Type } from 'typebox'
import type { Static } from 'typebox'
import { digest } from '../../crypto/hash.ts'
import { LimitError } from '../../errors/http-error.ts'
import { clientAddressKey, clientNetworkKey } from '../../net/addresses.ts'
import { keys } from '../../store/keys.ts'
import { ignoreOutage } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'

export const UnfinishedSignInSchema = Type.Object({
  id: Type.String(),
  /** Digests of an address and of its network. */
  countedUnder: Type.ReadonlyObject(Type.Array(Type.String()))
})
/** The entry of a sign-in in the sets that count it. */
export type UnfinishedSignIn = Static<typeof UnfinishedSignInSchema>

/** As long as anything of an unfinished sign-in is in the store. */
export const UNFINISHED_SECONDS = 960

/** Times the limit of an address, for the /48 of an IPv6 address. */
const NETWORK_FACTOR = 3

/**
 * Counts a sign-in that begins. Until the provider has confirmed a person, whoever answers consent pages may be
 * anybody, so an address can keep only so many sign-ins in the store.
 *
 * @param id counted once, however often it begins
 * @throws LimitError, StoreUnavailableError
 */
export async function countUnfinished (
  store: Store, id: string, { ip, maxPerAddress }: { ip: string, maxPerAddress: number }
): Promise<UnfinishedSignIn> {
  const [address, network] = [clientAddressKey(ip), clientNetworkKey(ip)]
  const limits = new Map([[network, NETWORK_FACTOR * maxPerAddress], [address, maxPerAddress]])
  const countedUnder: string[] = []
  for (const [name, max] of limits) {
    const countedName = digest(name)
    if (!await store.addMemberWithin(keys.unfinishedSignIns(countedName), id, UNFINISHED_SECONDS, max)) {
      await uncountUnfinished(store, { id, countedUnder })
      throw tooMany(max)
    }
    countedUnder.push(countedName)
  }
  return { id, countedUnder }
}

/** Makes room for another sign-in of this address, once a person has signed in. */
export async function uncountUnfinished (store: Store, { id, countedUnder }: UnfinishedSignIn): Promise<void> {
  await Promise.all(countedUnder.map(async (name) => {
    await store.removeMember(keys.unfinishedSignIns(name), id).catch(ignoreOutage)
  }))
}

function tooMany (max: number): LimitError {
  return new LimitError('Too many sign-ins from this address were started and not completed', {
    retryAfterSeconds: 60,
    detail: `${max} sign-ins of one address or IPv6 /48 are not completed (OAUTH_LIMIT_PER_ADDRESS, TRUST_PROXY)`,
    page: { sentence: 'Too many sign-ins were started from your network and not completed.' }
  })
}
