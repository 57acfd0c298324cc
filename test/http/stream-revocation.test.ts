import t from 'tap'
import { createStreamRevocation } from '../../src/http/stream-revocation.ts'
import type { Revocation } from '../../src/tokens/revocations.ts'
import type { Principal } from '../../src/tokens/principal.ts'

/** Which streams end when; over the wire, with real replicas: process/revoke-command.test.ts. */
function start (isRevoked: (names: string[]) => boolean = () => false) {
  let tell: (revocation: Revocation | undefined) => unknown = () => {}
  const guard = createStreamRevocation({
    revocations: {
      tryRevoke: async () => ({ revoked: new Set(), failures: [] }),
      revoke: async () => {},
      isRevoked: async (names) => isRevoked(names),
      onRevoked (listener) {
        tell = listener
      }
    },
    verifier: { revocationKeys: ({ subject }) => [`grant:${subject}`] },
    clockSkewSeconds: 0,
    checkMs: 10
  })
  return { guard, tell: async (revocation: Revocation | undefined) => { await tell(revocation) } }
}

function stream () {
  const listeners: Array<() => void> = []
  const own = {
    ended: false,
    destroyed: false,
    end () { own.ended = true },
    destroy () {
      own.destroyed = true
      for (const listener of listeners.splice(0)) listener()
    },
    onEnd (listener: () => void) { listeners.push(listener) }
  }
  return own
}

const principal = (subject: string, iat = 100, expiresAt = 4_000_000_000): Principal =>
  ({ subject, claims: { iat }, expiresAt }) as unknown as Principal

t.test('a revocation ends the streams of those it names, and no other', async (t) => {
  const { guard, tell } = start()
  const [ada, bob, later, nobody] = [stream(), stream(), stream(), stream()]
  guard.watch(ada, principal('ada'))
  guard.watch(bob, principal('bob'))
  guard.watch(later, principal('ada', 300))
  guard.watch(nobody, undefined)
  await tell({ revocationKeys: ['grant:ada'], issuedUntil: 200 })
  t.same(
    [ada, bob, later, nobody].map(({ destroyed }) => destroyed),
    [true, false, false, false],
    'not one whose token is newer'
  )
  await tell({ revocationKeys: ['grant:ada'], issuedUntil: 400 })
  t.ok(later.destroyed)
})

t.test('when messages may have been missed each stream is looked up', async (t) => {
  const { guard, tell } = start((names) => names.includes('grant:ada'))
  const [ada, bob] = [stream(), stream()]
  guard.watch(ada, principal('ada'))
  guard.watch(bob, principal('bob'))
  await tell(undefined)
  t.same([ada.destroyed, bob.destroyed], [true, false])
})

t.test('a stream that is over is forgotten', async (t) => {
  let asked = 0
  const { guard, tell } = start(() => { asked++; return false })
  const ada = stream()
  guard.watch(ada, principal('ada'))
  ada.destroy()
  await tell(undefined)
  t.equal(asked, 0)
})

t.test('a stream ends when its token expires, in good order', async (t) => {
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(awake) })
  const { guard } = start()
  const [ada, bob, left] = [stream(), stream(), stream()]
  guard.watch(bob, principal('bob'))
  guard.watch(left, principal('ada', 100, Date.now() / 1_000 + 0.02))
  left.destroy()
  await new Promise<void>((resolve) => {
    ada.end = () => {
      ada.ended = true
      resolve()
    }
    guard.watch(ada, principal('ada', 100, Date.now() / 1_000 + 0.02))
  })
  t.same([ada.ended, bob.ended, left.ended], [true, false, false])
  t.same([ada.destroyed, bob.destroyed], [false, false])
  ada.destroy()
})

t.test('the watch goes on with the next stream when all before it are over', async (t) => {
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(awake) })
  const { guard } = start()
  const [ada, bob] = [stream(), stream()]
  guard.watch(ada, principal('ada'))
  ada.destroy()
  await new Promise<void>((resolve) => {
    bob.end = resolve
    guard.watch(bob, principal('bob', 100, Date.now() / 1_000 + 0.02))
  })
  t.notOk(ada.ended)
})
