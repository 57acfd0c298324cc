import Fastify, { LogController } from 'fastify'
import t from 'tap'
import { lazyRequestLogger } from '../../src/logging/lazy-child-logger.ts'

t.test('what is logged for a request names it, at every level, and a request that logs nothing has no logger made', async (t) => {
  const lines: Array<Record<string, unknown>> = []
  const app = Fastify({
    logger: {
      level: 'trace',
      stream: {
        write: (line: string) => {
          lines.push(JSON.parse(line))
        }
      }
    },
    childLoggerFactory: lazyRequestLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => 'r-1'
  })
  let made = 0
  const { child } = app.log
  app.log.child = function (...given) {
    made++
    return child.apply(this, given)
  }
  app.get('/quiet', async () => 'quiet')
  app.get('/', async ({ log }) => {
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const) {
      log[level]({ of: level }, 'said')
    }
    log.child({ inner: true }).info('of a child')
    return log.level
  })
  await app.inject('/quiet')
  t.equal(made, 0)
  t.equal((await app.inject('/')).body, 'trace')
  t.equal(made, 2, 'its own, and the one that was asked for')
  t.same(
    lines.map(({ reqId, of, inner, level }) => [reqId, of ?? inner, level]),
    [
      ['r-1', 'trace', 10],
      ['r-1', 'debug', 20],
      ['r-1', 'info', 30],
      ['r-1', 'warn', 40],
      ['r-1', 'error', 50],
      ['r-1', 'fatal', 60],
      ['r-1', true, 30]
    ]
  )
})
