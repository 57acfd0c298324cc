import { spawn } from 'node:child_process'

export interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  seconds?: number
  cwd?: string
  env?: Record<string, string>
  input?: string
}

/** Runs a command to its end, whatever its exit code. A command that takes too long is killed, and that is an error. */
export async function run (command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { seconds = 60, cwd, env, input } = options
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env['PATH']!, HOME: process.env['HOME']!, ...env },
    stdio: 'pipe'
  })
  // Of a command that does not read it.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => { output[name] += chunk })
  }
  return await new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      const { stdout, stderr } = output
      reject(new Error(`${command} ${args.join(' ')} took more than ${seconds} s:\n${stdout}${stderr}`))
    }, seconds * 1_000)
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(late)
      resolve({ code, ...output })
    })
  })
}

/** Runs a command that must succeed. @returns its standard output without the last line break */
export async function succeed (command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`)
  return stdout.trimEnd()
}
