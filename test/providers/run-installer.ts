import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { RegistryUnreachable } from './provider.ts'

/** Runs an installer of packages. @throws RegistryUnreachable with what it printed */
export async function runInstaller (
  command: string,
  args: readonly string[],
  { cwd, env = {} }: { cwd: string, env?: Record<string, string> }
): Promise<void> {
  const child = spawn(command, args, {
    cwd,
    env: { ...(process.env as Record<string, string>), ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>
  ])
  if (code !== 0) {
    throw new RegistryUnreachable(`${command} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`)
  }
}
