import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { createDevelopmentLog } from '../../dev/log-output.ts'

const line = (fields: object): string => `${JSON.stringify({ time: 0, pid: 1, hostname: 'here', ...fields })}\n`

t.test('in development a person at a terminal reads the log as text, one line for each request', async (t) => {
  const printed: string[] = []
  const log = await createDevelopmentLog({ isTTY: true, write: (text) => printed.push(stripVTControlCharacters(text)) })
  log.write(line({ level: 30, event: 'request', path: '/mcp', status: 200, msg: 'Request' }))
  log.write(line({ level: 50, event: 'redis.unreachable', msg: 'Redis is unreachable' }))
  t.equal(printed.length, 2)
  t.match(printed[0], /^\[\d\d:\d\d:\d\d\] INFO: Request \{"event":"request","path":"\/mcp","status":200\}\n$/)
  t.match(printed[1], /^\[\d\d:\d\d:\d\d\] ERROR: Redis is unreachable /)
  t.notMatch(printed.join(), /hostname/)
})

t.test('what is not a terminal gets the lines as they are', async (t) => {
  const written: string[] = []
  const log = await createDevelopmentLog({ write: (text) => written.push(text) })
  t.ok('flushSync' in log, 'the output of the server itself')
  t.same(written, [])
})
