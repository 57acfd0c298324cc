import { execFile } from 'node:child_process'
import { watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCoalescedTask } from '../src/async/coalesced-task.ts'

export interface TypeWatchOptions {
  /** Folders whose files are watched, with the folders in them. */
  folders: readonly string[]
  /** Arguments for node: the compiler, which prints its errors and exits with 0 if there are none. */
  command: readonly string[]
  print (text: string): void
}

/** An editor that saves a file touches it several times. */
const SETTLE_MS = 50

/** Checks types in a separate process, now and after each save, and prints the result when it changes. Never fails. */
export function watchTypes ({ folders, command, print }: TypeWatchOptions): { close (): Promise<void> } {
  let watchers: FSWatcher[] = []
  let printed: string | undefined
  const abort = new AbortController()
  const check = createCoalescedTask(async () => {
    await sleep(SETTLE_MS)
    await watchAll()
    const result = await run(command, abort.signal)
    if (result !== printed && !abort.signal.aborted) print(result)
    printed = result
  }, () => {})

  /** Begins before the check reads the files, so that no save is missed; anew each time, as folders come and go. */
  async function watchAll (): Promise<void> {
    for (const watcher of watchers) watcher.close()
    watchers = (await withSubfolders(folders)).map((folder) => watch(folder, () => { check.request() }))
  }

  check.request()
  return {
    async close () {
      abort.abort()
      await check.idle()
      for (const watcher of watchers) watcher.close()
    }
  }
}

async function run (command: readonly string[], signal: AbortSignal): Promise<string> {
  return await new Promise((resolve) => {
    execFile(process.execPath, command, { signal, maxBuffer: Infinity }, (err, stdout, stderr) => {
      const errors = (stdout + stderr).trim().replace(/^/gm, '  ')
      resolve(err === null
        ? 'Types: no errors'
        : `Types: these errors were found; the server keeps running\n\n${errors}\n`)
    })
  })
}

async function withSubfolders (folders: readonly string[]): Promise<string[]> {
  const found = await Promise.all(folders.map(async (folder) => {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const folders = entries.filter((entry) => entry.isDirectory())
    return [folder, ...folders.map((entry) => join(entry.parentPath, entry.name))]
  }))
  return found.flat()
}
