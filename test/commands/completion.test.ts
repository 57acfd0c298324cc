import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { runCommand } from '../support/run-command.ts'

const run = promisify(execFile)

t.test('bash completes commands, options and choices', async (t) => {
  const { code, printed } = await runCommand(['completion', 'bash'], {})
  t.equal(code, 0)
  const complete = async (...words: string[]): Promise<string[]> => {
    const script = `${printed}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _seed; echo "\${COMPREPLY[*]}"`
    return (await run('bash', ['-c', script, 'bash', ...words])).stdout.trim().split(' ')
  }
  t.same(await complete('seed', 'ser'), ['serve'])
  t.same(await complete('seed', 'doctor', '--'), ['--json', '--sign-in', '--endpoint', '--timeout', '--help'])
  t.same(await complete('seed', 'new', 'p'), ['project'])
  t.same(await complete('seed', '--v'), ['--version'])
  t.same(await complete('seed', 'nosuch', '--'), [''])
})

t.test('zsh and fish get descriptions too', async (t) => {
  const zsh = await runCommand(['completion', 'zsh'], {})
  t.match(zsh.printed, /^#compdef seed\n/)
  t.match(zsh.printed, /'serve:start the server'/)
  t.match(zsh.printed, /doctor\) candidates=\('--json:print the findings as JSON'/)
  t.match(zsh.printed, "'--subject:the person'\\''s sub at the provider", 'quotes are escaped')
  const fish = await runCommand(['completion', 'fish'], {})
  t.match(fish.printed, "complete -c seed -f -n __fish_use_subcommand -a serve -d 'start the server'\n")
  t.match(fish.printed, "complete -c seed -n '__fish_seen_subcommand_from new' -f -a 'project tool'\n")
  t.match(fish.printed, /'__fish_seen_subcommand_from serve' -l port -d '.*' -r\n/)
})

t.test('another shell is refused with those that there are', async (t) => {
  t.match(await runCommand(['completion', 'ksh'], {}), { code: 1, printedErrors: /Allowed choices are bash, zsh, fish\./ })
})
