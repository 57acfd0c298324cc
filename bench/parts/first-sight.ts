import type { Context, PartResult } from '../context.ts'
import { cpuOf } from '../machine.ts'
import { closedLoop, sendAll } from '../load.ts'
import { checkServer, createTraffic } from '../messages.ts'
import { spread } from '../rounds.ts'
import { startServer } from '../server-process.ts'
import { bareServer, seedServer } from '../targets.ts'
import { markdownTable } from '../text.ts'

/** The number of tokens that Seed remembers. */
export const USERS = 10_000
/** Their numbers begin here: the others are those of the people who call all the time. */
export const FIRST_USER = 1_000
/** Users for the warm-up: more than are cached, so that each of their tokens is new every time. */
const WARMING_USERS = 11_000
const WARMING_ROUNDS = 3
const MIN_RATIO = 0.9
/** The factor by which the second round of all users may be slower than calls of a few. */
const MIN_REPEAT_RATIO = 0.8

/**
 * Measures tokens never seen before, of 10,000 users. One verification by jose allows the time of a call with a token
 * seen before, plus the extra cost of a bare route with jose on each request, for the same tokens.
 */
export async function measureFirstSight (context: Context): Promise<PartResult> {
  const { identity, pinning, provider, tokens, quick, rounds, progress } = context
  const users = quick ? USERS / 5 : USERS
  progress(`making ${users} tokens`)
  const first = await identity.tokens(users, FIRST_USER)
  const warming = await identity.tokens(WARMING_USERS, FIRST_USER + users)

  const figures: Array<Record<'seen' | 'unseen' | 'again' | 'bare' | 'bareJose', number>> = []
  for (let round = 1; round <= rounds; round++) {
    const bare = await startServer({ ...bareServer('bare', provider), core: pinning.server })
    const verifying = await startServer({
      ...bareServer('bare-jose', provider, { BENCH_CHECK: 'jose' }),
      core: pinning.server
    })
    const seed = await startServer({ ...seedServer('seed', provider), core: pinning.server })
    try {
      /** CPU time of a call, in microseconds. */
      const calls = async (
        { port, pid }: { port: number; pid: number },
        callers: readonly string[]
      ): Promise<number> => {
        const traffic = await createTraffic({ kind: 'modern', port, tokens: callers, variants: callers.length })
        const before = cpuOf(pid)
        await sendAll(port, traffic)
        return (cpuOf(pid) - before) * 1_000 / callers.length
      }
      for (const server of [bare, verifying, seed]) {
        const { port } = server
        const traffic = await createTraffic({ kind: 'modern', port, tokens })
        await checkServer(port, traffic, { kind: 'modern', tokens, authenticated: server !== bare })
        await closedLoop(port, traffic, { warmMs: 500, measureMs: 1_500, edge () {} })
      }
      for (let number = 0; number < WARMING_ROUNDS; number++) {
        for (const server of [bare, verifying, seed]) await calls(server, warming)
      }
      const plain = await calls(bare, first)
      const bareJose = await calls(verifying, first)
      const seen = await calls(seed, Array.from({ length: users }, (_none, index) => tokens[index % tokens.length]!))
      const unseen = await calls(seed, first)
      const again = await calls(seed, first)
      figures.push({ bare: plain, bareJose, seen, unseen, again })
      progress(`round ${round} of ${rounds}: first sight ${unseen.toFixed(1)} µs, seen ${seen.toFixed(1)} µs`)
    } finally {
      for (const server of [bare, verifying, seed]) await server.stop()
    }
  }
  const median = (of: (figure: typeof figures[0]) => number): number => spread(figures.map(of)).median
  const allowed = ({ seen, bare, bareJose }: typeof figures[0]): number => seen + bareJose - bare
  const share = spread(figures.map((figure) => allowed(figure) / figure.unseen))
  const repeat = spread(figures.map(({ seen, again }) => seen / again))
  return {
    title: 'Tokens seen for the first time',
    verdicts: [
      {
        item: '5',
        wanted: `first call with a token: at least ${MIN_RATIO} of what one verification by jose allows`,
        measured: `${share.median.toFixed(2)} (${share.min.toFixed(2)} to ${share.max.toFixed(2)})`,
        reached: share.median >= MIN_RATIO
      },
      {
        item: '5',
        wanted:
          `${users.toLocaleString('en')} users in turn do not thrash the cache: their second calls are at least ` +
          `${MIN_REPEAT_RATIO} as fast as those of ${tokens.length} users`,
        measured: repeat.median.toFixed(2),
        reached: repeat.median >= MIN_REPEAT_RATIO
      }
    ],
    lines: [
      `Medians of ${rounds} rounds, each with new processes warmed up with other users' tokens (RS256, 2048 bits). ` +
        '*Allowed* is the cost of a call with a token seen before, plus what one verification by jose costs on the ' +
        'bare route.',
      '',
      ...markdownTable(
        ['', 'CPU µs/request'],
        [
          [`Seed, ${tokens.length} users seen before`, median(({ seen }) => seen).toFixed(1)],
          [`Seed, ${users.toLocaleString('en')} users, first call`, median(({ unseen }) => unseen).toFixed(1)],
          ['allowed', median(allowed).toFixed(1)],
          [`Seed, the same ${users.toLocaleString('en')} users, second call`, median(({ again }) => again).toFixed(1)],
          ['bare route', median(({ bare }) => bare).toFixed(1)],
          ['bare route, jose on each request', median(({ bareJose }) => bareJose).toFixed(1)]
        ]
      )
    ]
  }
}
