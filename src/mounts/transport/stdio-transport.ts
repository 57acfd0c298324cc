import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { parseJSONRPCMessage } from '@modelcontextprotocol/client'
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client'
import { noResponse } from './http-transport.ts'
import { ResponseTooLargeError } from './limited-fetch.ts'
import { LineReader } from './line-reader.ts'
import type { MountProcess } from '../settings/mount-process.ts'
import { endFirstOutOfMemory } from './oom-score.ts'
import { MemoryExceededFailure, ProcessFailure } from './process-failure.ts'
import { killGroup } from '../process-group.ts'
import { watchdog } from '../watchdog-process.ts'
import type { TransportOptions } from './transport-options.ts'

/** Limit of what the process has not read yet: a client's request has 1 MiB at most. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024
/** Limits of what is read in a second. */
const MAX_MESSAGES_PER_SECOND = 5_000
const MAX_RESPONSES_PER_SECOND = 16
const MAX_STDERR_LINE_BYTES = 2_000
/** Each of the two steps of the end: from the closed stdin to SIGTERM, and from there to SIGKILL. */
const END_STEP_MS = 1_000

/**
 * Speaks MCP with a process that it starts (MCP, stdio transport). The process has a group of its own, which ends with
 * it, and with Seed.
 */
export class StdioTransport implements Transport {
  onclose?: () => void
  onerror?: (error: Error) => void
  onmessage?: (message: JSONRPCMessage) => void
  /** These two are the mark by which the MCP client knows this kind of transport. */
  readonly pid = null
  readonly stderr = null
  readonly #process: MountProcess
  readonly #options: TransportOptions
  #child: ChildProcessWithoutNullStreams | undefined
  #ended: Promise<unknown> | undefined
  #isClosing = false

  constructor (process: MountProcess, options: TransportOptions) {
    this.#process = process
    this.#options = options
  }

  /** @throws ProcessFailure if the command cannot be started */
  async start (): Promise<void> {
    const child = await this.#spawn()
    const pid = child.pid!
    this.#child = child
    child.stdin.on('error', () => {})
    this.#readOutput(child)
    child.once('exit', (code, signal) => {
      if (!this.#isClosing) this.#fail(new ProcessFailure(`its process ended with ${signal ?? `exit code ${code}`}`))
      // Its children would keep the pipes open.
      killGroup(pid, 'SIGKILL')
      setTimeout(() => { child.stdout.destroy(); child.stderr.destroy() }, END_STEP_MS).unref()
    })
    this.#ended = once(child, 'close').then(() => {
      watchdog.remove(pid)
      this.onclose?.()
    })
    endFirstOutOfMemory(pid)
    watchdog.add(pid, {
      maxMemoryBytes: this.#process.maxMemoryBytes,
      onMemoryExceeded: (bytes) => { this.#onMemoryExceeded(bytes) }
    })
  }

  async #spawn (): Promise<ChildProcessWithoutNullStreams> {
    const { command, args, cwd, env } = this.#process
    try {
      // A group of its own: signals of a terminal do not reach it, and its children end with it.
      const child = spawn(command, args, { cwd, env, shell: false, detached: true, stdio: 'pipe' })
      if (child.pid !== undefined) return child
      const [err] = await once(child, 'error')
      throw err
    } catch (err) {
      const reason = describeSpawnError(err as NodeJS.ErrnoException, cwd)
      throw this.#fail(new ProcessFailure(reason, { isRefusal: true }))
    }
  }

  async send (message: JSONRPCMessage): Promise<void> {
    const { stdin } = this.#child!
    if (stdin.writableLength > MAX_UNREAD_BYTES) {
      const failure = this.#fail(new ProcessFailure('it does not read its input'))
      this.close()
      throw failure
    }
    stdin.write(`${JSON.stringify(message)}\n`)
  }

  /** Ends the process: closes its input, then sends SIGTERM, then SIGKILL to its group (MCP, stdio, shutdown). */
  async close (): Promise<void> {
    const child = this.#child
    const ended = this.#ended
    this.#isClosing = true
    if (child === undefined || ended === undefined) return
    child.stdin.end()
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      if (await isWithin(ended, END_STEP_MS)) return
      killGroup(child.pid!, signal)
    }
    await ended
  }

  #fail (failure: ProcessFailure): ProcessFailure {
    this.#options.onFailure(failure)
    return failure
  }

  /** The watchdog ends the process: that it does is no further failure. */
  #onMemoryExceeded (bytes: number): void {
    const { maxMemoryBytes } = this.#process
    this.#isClosing = true
    this.#options.processLog.memoryExceeded(bytes, maxMemoryBytes)
    this.#fail(new MemoryExceededFailure(maxMemoryBytes))
  }

  #readOutput ({ stdout, stderr }: ChildProcessWithoutNullStreams): void {
    const { maxBytes, processLog } = this.#options
    const onStderr = (line: string): void => { processLog.stderr(line) }
    const messages = new LineReader({
      maxLineBytes: maxBytes,
      maxBytesPerSecond: maxBytes * MAX_RESPONSES_PER_SECOND,
      maxLinesPerSecond: MAX_MESSAGES_PER_SECOND,
      onLine: (line) => { this.#onLine(line) },
      onLongLine: (head, tail) => { this.#onLongLine(head, tail) }
    })
    const diagnostics = new LineReader({
      maxLineBytes: MAX_STDERR_LINE_BYTES,
      maxBytesPerSecond: 100 * MAX_STDERR_LINE_BYTES,
      maxLinesPerSecond: 1_000,
      onLine: onStderr,
      onLongLine: (head) => { onStderr(`${head}…`) }
    })
    messages.read(stdout)
    diagnostics.read(stderr)
  }

  /** Passes over lines that are no messages: many programs print something before they speak MCP. */
  #onLine (line: string): void {
    let message: JSONRPCMessage
    try {
      message = parseJSONRPCMessage(JSON.parse(line))
    } catch {
      if (line.trim() !== '') this.#options.processLog.stderr(`(on stdout, no message of MCP) ${line.slice(0, 200)}`)
      return
    }
    this.onmessage?.(message)
  }

  /** Fails the request that an overlong message answers: the id is one of its first or last members. */
  #onLongLine (head: string, tail: string): void {
    const error = new ResponseTooLargeError(this.#options.maxBytes)
    this.#options.onFailure(error)
    const [, id] = /^\s*\{(?:"jsonrpc":\s*"2\.0",\s*)?"id":\s*(\d+)[,}]/.exec(head) ??
      /"id":\s*(\d+)(?:,"jsonrpc":"2\.0")?\s*\}\s*$/.exec(tail) ?? []
    if (id === undefined) this.close()
    else this.onmessage?.(noResponse(Number(id), error))
  }
}

function describeSpawnError ({ code }: NodeJS.ErrnoException, cwd: string): string {
  return code === 'ENOENT'
    ? `its command was not found, or ${cwd} is no folder (ENOENT)`
    : `its command cannot be started (${code})`
}

/** Tells whether work is done within a time. */
async function isWithin (work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => { timer = setTimeout(() => { resolve(false) }, ms) })
  const isDone = await Promise.race([work.then(() => true), late])
  clearTimeout(timer)
  return isDone
}
