import t from 'tap'
import { VERSION } from '../../src/config/version.ts'
import { runCommand } from '../support/run-command.ts'

const COMMANDS = [
  'serve', 'demo', 'check', 'health', 'doctor', 'explain', 'mounts', 'audit', 'connections', 'revoke', 'trace', 'new',
  'import', 'token', 'completion'
]

t.test('seed --help and --version go to standard output, and end with 0', async (t) => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, printed, printedErrors } = await runCommand(args, {})
    t.match({ code, printedErrors }, { code: 0, printedErrors: '' }, args[0]!)
    t.match(printed, /^Usage: seed \[options\] \[command\]\n[^]*\nExamples:\n/)
    for (const name of COMMANDS) t.match(printed, new RegExp(`^  ${name} .*[a-z]`, 'm'))
  }
  for (const flag of ['--version', '-V']) {
    t.match(await runCommand([flag], {}), { code: 0, printed: `${VERSION}\n`, printedErrors: '' })
  }
})

t.test('without a command, help goes to standard error and the exit code is 1', async (t) => {
  t.match(await runCommand([], {}), { code: 1, printed: '', printedErrors: /^Usage: seed / })
})

t.test('each command has help with examples, by --help and by seed help', async (t) => {
  for (const name of COMMANDS) {
    const byFlag = await runCommand([name, '--help'], {})
    t.match(byFlag, { code: 0, printedErrors: '' }, name)
    t.match(byFlag.printed, new RegExp(`^Usage: seed ${name} `))
    t.match(byFlag.printed, new RegExp(`\\nExamples:\n  \\$ .*seed ${name}`))
    t.same(await runCommand(['help', name], {}), byFlag)
  }
})

t.test('a command, option or argument that does not exist is answered with the nearest one', async (t) => {
  for (const [args, error] of [
    [['sreve'], "seed: unknown command 'sreve'\n(Did you mean serve?)\nseed --help lists the commands.\n"],
    [['healthy'], "seed: unknown command 'healthy'\n(Did you mean health?)\nseed --help lists the commands.\n"],
    [['frobnicate'], "seed: unknown command 'frobnicate'\nseed --help lists the commands.\n"],
    [['--verison'], "seed: unknown option '--verison'\n(Did you mean --version?)\nseed --help lists the commands.\n"],
    [
      ['doctor', '--jsn'],
      "seed doctor: unknown option '--jsn'\n(Did you mean --json?)\nseed doctor --help shows its options, and examples.\n"
    ],
    [
      ['health', 'now'],
      "seed health: too many arguments for 'health'. Expected 0 arguments but got 1.\nseed health --help shows its options, and examples.\n"
    ],
    [
      ['health', '--timeout', 'soon'],
      'seed health: --timeout is a number of seconds\nseed health --help shows its options, and examples.\n'
    ],
    [
      ['token', '--client-id', '--open'],
      "seed token: option '--client-id' needs a value ('--open' is an option)\nseed token --help shows its options, and examples.\n"
    ]
  ] as const) {
    t.same(await runCommand([...args], {}), { code: 1, output: error, printed: '', printedErrors: error }, args.join(' '))
  }
})
