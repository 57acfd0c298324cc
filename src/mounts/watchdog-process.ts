import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What Seed wants of a process group. */
export interface WatchedGroup {
  /** Limit of the memory of all its processes together. */
  maxMemoryBytes: number
  /** Called when the group is ended, as it uses more: so many bytes. */
  onMemoryExceeded (bytes: number): void
}

/** Starts the process of watchdog.ts with the first process that it is to watch, and ends it after the last one. */
class WatchdogProcess {
  readonly #groups = new Map<number, WatchedGroup>()
  #child: ChildProcess | undefined

  /** Watches a process group from now on. */
  add (pid: number, group: WatchedGroup): void {
    this.#groups.set(pid, group)
    if (this.#child === undefined) this.#start()
    else this.#announce(pid, group)
  }

  /** Stops watching a group, which has ended. */
  remove (pid: number): void {
    this.#groups.delete(pid)
    this.#write(`-${pid}\n`)
    if (this.#groups.size > 0) return
    this.#child?.stdin!.end()
    this.#child = undefined
  }

  #start (): void {
    const child = spawn(process.execPath, [watchdogPath()], { detached: true, stdio: ['pipe', 'pipe', 'ignore'] })
    this.#child = child
    const onEnd = (): void => {
      if (this.#child !== child) return
      this.#child = undefined
      // Somebody has killed it.
      if (this.#groups.size > 0) setTimeout(() => { if (this.#child === undefined) this.#start() }, RESTART_MS).unref()
    }
    child.once('exit', onEnd)
    child.once('error', onEnd)
    child.stdin.on('error', () => {})
    child.unref()
    for (const stream of [child.stdin, child.stdout] as unknown[]) (stream as { unref (): void }).unref()
    createInterface({ input: child.stdout }).on('line', (line) => { this.#onMemoryExceeded(line) })
    for (const [pid, group] of this.#groups) this.#announce(pid, group)
  }

  #announce (pid: number, { maxMemoryBytes }: WatchedGroup): void {
    this.#write(`+${pid} ${maxMemoryBytes}\n`)
  }

  #onMemoryExceeded (line: string): void {
    const [pid, bytes] = line.split(' ').map(Number)
    this.#groups.get(pid!)?.onMemoryExceeded(bytes!)
  }

  #write (line: string): void {
    this.#child?.stdin!.write(line)
  }
}

const RESTART_MS = 1_000

/** Returns the path of watchdog.ts, compiled like this file. */
function watchdogPath (): string {
  const ending = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
  return fileURLToPath(new URL(`../mounts/watchdog${ending}`, import.meta.url))
}

/** One for the process: it is about operating-system processes, not about a server. */
export const watchdog = new WatchdogProcess()
