import { digest } from '../../../crypto/hash.ts'
import { keys } from '../../../store/keys.ts'
import type { Grant } from './grant.ts'

/** Returns the keys of the sets in which a grant is found when all of an owner's are revoked. */
export function indexKeys ({ subject, clientId, sid }: Grant): string[] {
  return [subjectIndex(subject), clientIndex(clientId), ...(sid === undefined ? [] : [sidIndex(sid)])]
}

export const subjectIndex = (subject: string): string => keys.grantsOf(digest(`subject:${subject}`))
export const clientIndex = (clientId: string): string => keys.grantsOf(digest(`clientId:${clientId}`))
export const sidIndex = (sid: string): string => keys.grantsOf(digest(`sid:${sid}`))
