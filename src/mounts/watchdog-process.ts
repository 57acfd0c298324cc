import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Starts the process of watchdog.ts with the first process that it is to watch, and ends it after the last one. */
class WatchdogProcess {
  readonly #groups = new Set<number>()
  #child: ChildProcess | undefined

  /** Watches a process group from now on. */
  add (pid: number): void {
    this.#groups.add(pid)
    if (this.#child === undefined) this.#start()
    else this.#write(`+${pid}\n`)
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
    const child = spawn(process.execPath, [watchdogPath()], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
    this.#child = child
    child.stdin.on('error', () => {})
    child.unref()
    ;(child.stdin as unknown as { unref (): void }).unref()
    for (const pid of this.#groups) this.#write(`+${pid}\n`)
    const onEnd = (): void => {
      if (this.#child !== child) return
      this.#child = undefined
      // Somebody has killed it.
      if (this.#groups.size > 0) setTimeout(() => { if (this.#child === undefined) this.#start() }, RESTART_MS).unref()
    }
    child.once('exit', onEnd)
    child.once('error', onEnd)
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
