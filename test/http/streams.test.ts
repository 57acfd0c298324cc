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
    verifier: { revocationNames: ({ subject }) => [`grant:${subject}`] }
  })
  return { guard, tell: async (revocation: Revocation | undefined) => { await tell(revocation) } }
}

function stream (headersSent = true) {
  const raw = Object.assign(new EventEmitter(), {
    headersSent,
    destroyed: false,
    destroy () {
      raw.destroyed = true
      raw.emit('close')
    }
  })
  return { raw } as unknown as FastifyReply & { raw: { destroyed: boolean } }
}

const principal = (subject: string, iat = 100): Principal => ({ subject, claims: { iat } }) as unknown as Principal

t.test('a revocation ends the streams of those it names, and no other', async (t) => {
  const { guard, tell } = start()
  const [ada, bob, later, pending, nobody] = [stream(), stream(), stream(), stream(false), stream()]
  guard.watch(ada, principal('ada'))
  guard.watch(bob, principal('bob'))
  guard.watch(later, principal('ada', 300))
  guard.watch(pending, principal('ada'))
  guard.watch(nobody, undefined)
  await tell({ names: ['grant:ada'], issuedUntil: 200 })
  t.same([ada, bob, later, pending, nobody].map(({ raw }) => raw.destroyed), [true, false, false, false, false],
    'not one whose token is newer, nor an answer that has not begun')
  await tell({ names: ['grant:ada'], issuedUntil: 400 })
  t.ok(later.raw.destroyed)
})

t.test('when messages may have been missed each stream is looked up', async (t) => {
  const { guard, tell } = start((names) => names.includes('grant:ada'))
  const [ada, bob] = [stream(), stream()]
  guard.watch(ada, principal('ada'))
  guard.watch(bob, principal('bob'))
  await tell(undefined)
  t.same([ada.raw.destroyed, bob.raw.destroyed], [true, false])
})

t.test('a stream that is over is forgotten', async (t) => {
  let asked = 0
  const { guard, tell } = start(() => { asked++; return false })
  const ada = stream()
  guard.watch(ada, principal('ada'))
  ada.raw.destroy()
  await tell(undefined)
  t.equal(asked, 0)
})
