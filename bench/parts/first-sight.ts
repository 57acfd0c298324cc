import { createLocalJWKSet, jwtVerify } from 'jose'
import type { JSONWebKeySet } from 'jose'
import type { Context, PartResult } from '../context.ts'
import { cpuOf } from '../machine.ts'
import { closedLoop, sendAll } from '../load.ts'
import { checkServer, createTraffic } from '../messages.ts'
import { spread } from '../rounds.ts'
import { startServer } from '../server-process.ts'
import { bareServer, seedServer } from '../targets.ts'
import { markdownTable } from '../text.ts'

/** As many as Seed remembers. */
export const USERS = 10_000
/** Their numbers begin here: the others are those of the people who call all the time. */
export const FIRST_USER = 1_000
const LEAST = 0.9
/** How much slower the second round of all users may be than calls of a few. */
const LEAST_AGAIN = 0.8

/**
 * Tokens that were never seen, 10,000 users of them. What one verification by jose allows: the time of a call with a token
 * seen before, and one verification on top.
 */
export async function measureFirstSight (context: Context): Promise<PartResult> {
  const { identity, pinning, provider, tokens, quick, rounds, progress } = context
  const users = quick ? USERS / 5 : USERS
  progress(`making ${users} tokens`)
  const first = await identity.tokens(users, FIRST_USER)
  const joseMicros = await timeJose(provider.JWKS_URI, first, identity)

  const figures: Array<Record<'seen' | 'unseen' | 'again' | 'bareJose', number>> = []
  for (let round = 1; round <= rounds; round++) {
    const bare = await startServer({ ...bareServer('bare-jose', provider, { BENCH_CHECK: 'jose' }), core: pinning.server })
    const seed = await startServer({ ...seedServer('seed', provider), core: pinning.server })
    try {
      /** CPU time of a call, in microseconds. */
      const calls = async ({ port, pid }: { port: number, pid: number }, callers: readonly string[]): Promise<number> => {
        const traffic = await createTraffic({ kind: 'modern', port, tokens: callers, variants: callers.length })
        const before = cpuOf(pid)
        await sendAll(port, traffic)
        return (cpuOf(pid) - before) * 1_000 / callers.length
      }
      for (const { port } of [bare, seed]) {
        const traffic = await createTraffic({ kind: 'modern', port, tokens })
        await checkServer(port, traffic, { kind: 'modern', tokens, authenticated: true })
        await closedLoop(port, traffic, { warmMs: 500, measureMs: 1_500, edge () {} })
      }
      const bareJose = await calls(bare, first)
      const seen = await calls(seed, Array.from({ length: users }, (_none, index) => tokens[index % tokens.length]!))
      const unseen = await calls(seed, first)
      const again = await calls(seed, first)
      figures.push({ bareJose, seen, unseen, again })
      progress(`round ${round} of ${rounds}: first sight ${unseen.toFixed(1)} µs, seen ${seen.toFixed(1)} µs`)
    } finally {
      await bare.stop()
      await seed.stop()
    }
  }
  const median = (of: (figure: typeof figures[0]) => number): number => spread(figures.map(of)).median
  const share = spread(figures.map(({ seen, unseen }) => (seen + joseMicros) / unseen))
  const repeat = spread(figures.map(({ seen, again }) => seen / again))
  return {
    title: 'Tokens seen for the first time',
    verdicts: [
      {
        item: '5',
        wanted: `first sight of a token: at least ${LEAST} of what one jose verification allows`,
        measured: `${share.median.toFixed(2)} (${share.least.toFixed(2)} to ${share.most.toFixed(2)})`,
        reached: share.median >= LEAST
      },
      {
        item: '5',
        wanted: `${users.toLocaleString('en')} users in turn do not thrash: their second calls at least ${LEAST_AGAIN} as fast as those of ${tokens.length} users`,
        measured: repeat.median.toFixed(2),
        reached: repeat.median >= LEAST_AGAIN
      }
    ],
    lines: [
      `Medians of ${rounds} rounds, each with new processes. One verification by jose, RS256, 2048 bits, on the load core: ${joseMicros.toFixed(1)} µs. *Allowed* is a call with a token seen before, plus that.`,
      '',
      ...markdownTable(['', 'CPU µs/request'], [
        [`Seed, ${tokens.length} users seen before`, median(({ seen }) => seen).toFixed(1)],
        [`Seed, ${users.toLocaleString('en')} users, first call`, median(({ unseen }) => unseen).toFixed(1)],
        ['allowed', (median(({ seen }) => seen) + joseMicros).toFixed(1)],
        [`Seed, the same ${users.toLocaleString('en')} users, second call`, median(({ again }) => again).toFixed(1)],
        ['bare route, jose on each request', median(({ bareJose }) => bareJose).toFixed(1)]
      ])
    ]
  }
}

/** @returns microseconds of CPU time */
async function timeJose (jwksUri: string, tokens: readonly string[], { issuer, audience }: { issuer: string, audience: string }): Promise<number> {
  const keys = createLocalJWKSet(await (await fetch(jwksUri)).json() as JSONWebKeySet)
  const verify = async (some: readonly string[]): Promise<void> => {
    for (const token of some) await jwtVerify(token, keys, { issuer, audience, algorithms: ['RS256'], requiredClaims: ['exp', 'sub'] })
  }
  await verify(tokens.slice(0, 1_000))
  const before = process.cpuUsage()
  await verify(tokens)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / tokens.length
}
