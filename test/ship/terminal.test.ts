import { existsSync } from 'node:fs'
import t from 'tap'
import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'
import { CLI, DEV, SERVER, emptyFolder, startCommand } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'

/** The output of processes as a person reads it at a real terminal, and as a collector of logs gets it. */

/** Starts node at a pseudo-terminal (util-linux). */
async function startAtTerminal (t: Test, args: string[], env: Record<string, string>): Promise<TestProcess> {
  const command = [process.execPath, ...args].join(' ')
  const bare = { TAP_TYPE_STRIP_ONLY: '1', NODE_OPTIONS: '', ...env }
  return startCommand(t, 'script', ['-qefc', command, '/dev/null'], bare, await emptyFolder(t))
}

async function startPiped (t: Test, args: string[], env: Record<string, string>): Promise<TestProcess> {
  const bare = { TAP_TYPE_STRIP_ONLY: '1', NODE_OPTIONS: '', ...env }
  return startCommand(t, process.execPath, args, bare, await emptyFolder(t))
}

const isObject = (line: string): boolean => line.startsWith('{"level":')

for (const [name, args] of [['seed serve', [CLI, 'serve']], ['the server', [SERVER]], ['npm run dev', [DEV]]] as const) {
  t.test(`${name}: what prevents the start is text at a terminal, and a line of the log elsewhere`, async (t) => {
    if (!existsSync('/usr/bin/script')) return t.plan(0, 'no script: apt-get install bsdutils')
    const env = { PORT: 'none', AUTH_REQUIRED: 'false', DEV_PROVIDER_PORT: String(await freePort()) }
    const atTerminal = await startAtTerminal(t, [...args], env)
    t.equal((await atTerminal.ended).code, 1)
    const text = (await atTerminal.output()).split(/\r?\n/)
    t.match(text.join('\n'), '  - PORT must be a whole number (it is "none")')
    t.notOk(text.some(isObject), 'nothing for machines')

    const piped = await startPiped(t, [...args], env)
    t.equal((await piped.ended).code, 1)
    const lines = (await piped.output()).split('\n').filter(isObject)
    t.match(lines.map((line) => JSON.parse(line)), [{
      level: 60, event: 'server.not_started', problems: ['PORT must be a whole number (it is "none")']
    }])
  })
}
