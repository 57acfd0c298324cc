import { mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import type { BuildFailure, Plugin } from 'esbuild'
import { ExtensionError } from '../src/extensions/errors.ts'

/** Keeps the JavaScript of folders of TypeScript up to date; dev/start.js has compiled all of it before. */
export interface Compiler {
  /** Compiles saved files and removes those without a source. @throws ExtensionError with file, line and reason */
  update (): Promise<void>
}

/** Like dev/transpile.js: keeps every import, but names the JavaScript file instead of the TypeScript file. */
const importJavaScript: Plugin = {
  name: 'import-javascript',
  setup ({ onResolve }) {
    onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === 'entry-point' ? undefined : { path: path.replace(/^(\.\.?\/.*)\.ts$/, '$1.js'), external: true }
    )
  }
}

/** @param folders pairs: the sources, and where their JavaScript goes */
export async function createCompiler (
  folders: ReadonlyArray<readonly [source: string, target: string]>
): Promise<Compiler> {
  const compiled = new Map<string, string>()

  async function updateFolder (source: string, target: string, first: boolean): Promise<void> {
    const names = await namesIn(source, '.ts')
    await mkdir(target, { recursive: true })
    for (const name of await namesIn(target, '.js')) {
      if (!names.includes(`${basename(name, '.js')}.ts`)) await rm(join(target, name))
    }
    for (const name of names) {
      const file = join(source, name)
      const text = await readFile(file, 'utf8')
      if (!first && compiled.get(file) !== text) await compile(file, target)
      compiled.set(file, text)
    }
  }

  for (const [source, target] of folders) await updateFolder(source, target, true)
  return {
    async update () {
      for (const [source, target] of folders) await updateFolder(source, target, false)
    }
  }
}

async function compile (file: string, outdir: string): Promise<void> {
  try {
    // Only bundling rewrites imports. Every import is external, so the file still becomes one file.
    await build({
      entryPoints: [file],
      outdir,
      bundle: true,
      treeShaking: false,
      plugins: [importJavaScript],
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: true,
      sourcesContent: false,
      logLevel: 'silent'
    })
  } catch (err) {
    const { text, location } = (err as BuildFailure).errors[0]!
    throw new ExtensionError(`${file}:${location!.line} cannot be loaded: ${text}`)
  }
}

/** A folder that does not exist is an empty one. */
async function namesIn (folder: string, ending: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => name.endsWith(ending))
}
