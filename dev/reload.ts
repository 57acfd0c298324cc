import { watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { readFile, readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { createCoalescedTask } from '../src/async/coalesced-task.ts'
import type { CoalescedTask } from '../src/async/coalesced-task.ts'
import type { Definition } from '../src/define/definition.ts'
import { describeDefinition } from '../src/define/definition.ts'
import { linkExtensions } from '../src/extensions/link.ts'
import { BUILT_IN_FOLDERS, addFile, loadAllDefinitions, namesInStack } from '../src/extensions/load.ts'
import type { LoadedDefinition } from '../src/extensions/load.ts'
import { ENDINGS, foldersOf, isPath } from '../src/extensions/locate.ts'
import type { DeclaredMount } from '../src/mounts/settings/define-mount.ts'
import { createCompiler } from './compile.ts'

/**
 * A saved file is live at once: everything that is offered is loaded again, and replaces what was. A broken one is told
 * of, and what was offered stays.
 */
export interface Reloader {
  /** The definitions that are offered at start. */
  readonly definitions: readonly Definition[]
  /** The mounts of extensions, as they were at the start. */
  readonly mounts: readonly DeclaredMount[]
  /** From now on. @param replace throws for what cannot be served */
  watch (replace: (definitions: readonly Definition[]) => void, log: ReloadLog): void
  /** Adds the file to an error about one of the definitions. */
  addFile (err: unknown): unknown
  /** Names the definitions whose files are in the stack of what was thrown. */
  namesInStack (thrown: unknown): string[]
  close (): Promise<void>
}

export interface ReloadLog {
  info (fields: object, message: string): void
  error (fields: object, message: string): void
}

export interface ReloaderOptions {
  /** Entries of SEED_EXTENSIONS. Packages are not watched. */
  extensions: readonly string[]
  from: string
  /** The folder whose tools, prompts and resources were compiled into those that run. */
  source: string
}

/** An editor that saves a file touches it several times. */
const SETTLE_MS = 50

/** @throws ExtensionError */
export async function createReloader ({ extensions, from, source }: ReloaderOptions): Promise<Reloader> {
  const own = BUILT_IN_FOLDERS.map((target) => [join(source, basename(target)), target] as const)
  const compiler = await createCompiler(own)
  const theirs = await Promise.all(extensions.filter(isPath).map(async (entry) => await folderOf(resolve(from, entry))))
  linkExtensions([...BUILT_IN_FOLDERS, ...theirs].map((folder) => `${pathToFileURL(folder).href.replace(/\/$/, '')}/`))
  const watched = [...own.map(([folder]) => folder), ...theirs.flatMap(foldersOf)]

  let seen = await readTexts(watched)
  // Mounts connect when the server starts: a change of them needs a restart.
  const mounts: DeclaredMount[] = []
  let offered = { texts: seen, loaded: await loadAllDefinitions(extensions, { from, mounts }) }
  const definitions = definitionsOf(offered.loaded)
  let version = 0
  let watchers: FSWatcher[] = []
  let reloading: CoalescedTask | undefined

  /** A file that runs, as its author knows it. */
  function sourceOf (file: string): string {
    const folder = own.find(([, target]) => dirname(file) === join(target, '.'))
    return folder === undefined ? file : join(folder[0], basename(file).replace(/\.js$/, '.ts'))
  }

  async function reload (replace: (definitions: readonly Definition[]) => void, log: ReloadLog): Promise<void> {
    const texts = await readTexts(watched)
    if (differing(texts, seen).length === 0) return
    seen = texts
    let loaded: LoadedDefinition[] = []
    try {
      await compiler.update()
      loaded = await loadAllDefinitions(extensions, { from, version: ++version })
      replace(definitionsOf(loaded))
      log.info(
        compare(offered.loaded, loaded, differing(texts, offered.texts), sourceOf),
        'Saved files were loaded: this is offered from now on'
      )
      offered = { texts, loaded }
    } catch (err) {
      throw addFile(err, loaded)
    }
  }

  function logFailure (err: unknown, log: ReloadLog): void {
    const { message } = err as Error
    const file = message.split(' ')[0]!
    log.error(
      { reason: message.replace(file, sourceOf(file)) },
      'Saved files cannot be loaded: what was offered before stays'
    )
  }

  async function watchAll (onChange: () => void): Promise<void> {
    for (const watcher of watchers) watcher.close()
    const folders = await existing([source, ...watched])
    watchers = folders.map((folder) => watch(folder, { persistent: false }, onChange))
  }

  return {
    definitions,
    mounts,
    addFile: (err) => addFile(err, offered.loaded),
    namesInStack: (thrown) => namesInStack(thrown, offered.loaded),
    watch (replace, log) {
      const task = createCoalescedTask(async () => {
        await sleep(SETTLE_MS)
        // Before anything is read, so that no change is missed; all of them, as folders may be new or replaced.
        await watchAll(() => { task.request() })
        await reload(replace, log)
      }, (err) => { logFailure(err, log) })
      reloading = task
      task.request()
    },
    async close () {
      await reloading?.idle()
      for (const watcher of watchers) watcher.close()
    }
  }
}

/** Watches a folder or file of SEED_EXTENSIONS. Loading reports one that does not exist. */
async function folderOf (path: string): Promise<string> {
  const real = await realpath(path).catch(() => path)
  return (await existing([real])).length > 0 ? real : dirname(real)
}

async function existing (folders: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    folders.map(async (folder) => (await stat(folder).catch(() => undefined))?.isDirectory())
  )
  return folders.filter((_, index) => found[index])
}

function definitionsOf (loaded: readonly LoadedDefinition[]): Definition[] {
  return loaded.map(({ definition }) => definition)
}

type Texts = ReadonlyMap<string, string>

/** All programs in folders, those too that others import. */
async function readTexts (folders: readonly string[]): Promise<Texts> {
  const texts = new Map<string, string>()
  for (const folder of await existing(folders)) {
    for (const name of await readdir(folder)) {
      const file = join(folder, name)
      if (!ENDINGS.some((ending) => name.endsWith(ending))) continue
      // Gone since, or a link to nothing.
      texts.set(file, await readFile(file, 'utf8').catch(() => ''))
    }
  }
  return texts
}

/** The files that were added, changed or removed. */
function differing (a: Texts, b: Texts): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((file) => a.get(file) !== b.get(file))
}

/** Definitions that are new, gone, or have other code: their own, or that of a saved file which they import. */
function compare (
  before: readonly LoadedDefinition[],
  after: readonly LoadedDefinition[],
  saved: readonly string[],
  sourceOf: (file: string) => string
) {
  const describe = (loaded: readonly LoadedDefinition[]) =>
    new Map(loaded.map(({ file, definition }) => [describeDefinition(definition), sourceOf(file)] as const))
  const [old, now] = [describe(before), describe(after)]
  const sharedSaved = saved.some((file) => basename(file).startsWith('_'))
  return {
    added: [...now.keys()].filter((what) => !old.has(what)),
    changed: [...now]
      .filter(([what, file]) => old.has(what) && (sharedSaved || saved.includes(file)))
      .map(([what]) => what),
    gone: [...old.keys()].filter((what) => !now.has(what))
  }
}
