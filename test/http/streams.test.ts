import { EventEmitter } from 'node:events'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { createStreamGuard } from '../../src/http/streams.ts'
import type { Revocation } from '../../src/oauth/revocations.ts'
import type { Principal } from '../../src/oidc/principal.ts'

/** Which streams end when; over the wire, with real replicas: process/revoke-command.test.ts. */
function start (isRevoked: (names: string[]) => boolean = () => false) {
  let tell: (revocation: Revocation | undefined) => unknown = () => {}
  const guard = createStreamGuard({
    revocations: { revoke: async () => {}, isRevoked: async (names) => isRevoked(names), onRevoked (listener) { tell = listener } },
    verifier: { revocationNames: ({ subject }) => [`grant:${subject}`] },
    clockSkewSeconds: 0
  })
  return { guard, tell: async (revocation: Revocation | undefined) => { await tell(revocation) } }
}

function stream () {
  const raw = Object.assign(new EventEmitter(), {
    destroyed: false,
    destroy () {
      raw.destroyed = true
      raw.emit('close')
    }
  })
  return { raw } as unknown as FastifyReply & { raw: { destroyed: boolean, destroy (): void } }
}

const principal = (subject: string, iat = 100, expiresAt = 4_000_000_000): Principal => ({ subject, claims: { iat }, expiresAt }) as unknown as Principal

const unexpected = (): void => { throw new Error('The token has not expired') }

t.test('a revocation ends the streams of those it names, and no other', async (t) => {
  const { guard, tell } = start()
  const [ada, bob, later, nobody] = [stream(), stream(), stream(), stream()]
  guard.watch(ada, principal('ada'), unexpected)
  guard.watch(bob, principal('bob'), unexpected)
  guard.watch(later, principal('ada', 300), unexpected)
  guard.watch(nobody, undefined, unexpected)
  await tell({ names: ['grant:ada'], issuedUntil: 200 })
  t.same([ada, bob, later, nobody].map(({ raw }) => raw.destroyed), [true, false, false, false], 'not one whose token is newer')
  await tell({ names: ['grant:ada'], issuedUntil: 400 })
  t.ok(later.raw.destroyed)
})

t.test('when messages may have been missed each stream is looked up', async (t) => {
  const { guard, tell } = start((names) => names.includes('grant:ada'))
  const [ada, bob] = [stream(), stream()]
  guard.watch(ada, principal('ada'), unexpected)
  guard.watch(bob, principal('bob'), unexpected)
  await tell(undefined)
  t.same([ada.raw.destroyed, bob.raw.destroyed], [true, false])
})

t.test('a stream that is over is forgotten', async (t) => {
  let asked = 0
  const { guard, tell } = start(() => { asked++; return false })
  const ada = stream()
  guard.watch(ada, principal('ada'), unexpected)
  ada.raw.destroy()
  await tell(undefined)
  t.equal(asked, 0)
})

t.test('a stream ends when its token expires, in good order', async (t) => {
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(awake) })
  const { guard } = start()
  const [ada, bob] = [stream(), stream()]
  guard.watch(bob, principal('bob'), unexpected)
  await new Promise<void>((resolve) => { guard.watch(ada, principal('ada', 100, Date.now() / 1_000 + 0.02), resolve) })
  t.same([ada.raw.destroyed, bob.raw.destroyed], [false, false])
  ada.raw.destroy()
})

t.test('the watch of a stream that is over ends with it', async (t) => {
  const { guard } = start()
  const ada = stream()
  guard.watch(ada, principal('ada', 100, Date.now() / 1_000 + 0.02), unexpected)
  ada.raw.destroy()
  await new Promise((resolve) => { setTimeout(resolve, 50) })
  t.pass('nobody was told of its expiry')
})
