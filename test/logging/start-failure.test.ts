import t from 'tap'
import { ConfigError } from '../../src/config/problem.ts'
import { printStartFailure } from '../../src/logging/start-failure.ts'

t.test('why the server cannot start is text at a terminal, and a line of the log elsewhere', async (t) => {
  const printed: string[] = []
  const printedErrors: string[] = []
  const output = {
    print (line: string) { printed.push(line) },
    printError (text: string) { printedErrors.push(text) }
  }
  const err = new ConfigError([{ setting: 'PORT', message: 'PORT must be at most 65535 (it is "1e9")' }])
  printStartFailure(err, { ...output, isTerminal: true })
  t.same([printed, printedErrors], [[], [err.message]])
  printStartFailure(err, { ...output, isTerminal: false })
  printStartFailure(new Error('Port 3000 is already in use'), { ...output, isTerminal: false })
  const [configuration, port] = printed.map((line) => JSON.parse(line))
  t.match(configuration, { level: 60, event: 'server.not_started', problems: [/^PORT must be/], msg: err.message })
  t.match(port, { level: 60, problems: undefined, msg: 'Port 3000 is already in use' })
})
