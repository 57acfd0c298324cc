import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import ts from 'typescript'
import { ExtensionError } from '../src/extensions/errors.ts'

/** The JavaScript of folders of TypeScript kept up to date. `npm run dev` compiled it whole, so what is there at first is taken as it is. */
export interface Compiler {
  /** Compiles what was saved since, and removes what has no source any more. @throws ExtensionError with file, line and reason */
  update (): Promise<void>
}

/** As in tsconfig.json; types are not looked at, which takes seconds. */
const OPTIONS: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  target: ts.ScriptTarget.ES2023,
  sourceMap: true,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true
}

/** @param folders pairs: the sources, and where their JavaScript goes */
export async function createCompiler (folders: ReadonlyArray<readonly [source: string, target: string]>): Promise<Compiler> {
  const compiled = new Map<string, string>()

  async function compile (source: string, target: string, text: string): Promise<void> {
    const { outputText, sourceMapText, diagnostics } = ts.transpileModule(text, { compilerOptions: OPTIONS, fileName: source, reportDiagnostics: true })
    const [problem] = diagnostics!
    if (problem !== undefined) {
      const { start, messageText } = problem
      const line = text.slice(0, start).split('\n').length
      throw new ExtensionError(`${source}:${line} cannot be loaded: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`)
    }
    await writeFile(target, outputText)
    await writeFile(`${target}.map`, sourceMapText!)
  }

  async function updateFolder (source: string, target: string, first: boolean): Promise<void> {
    const names = await namesIn(source, '.ts')
    await mkdir(target, { recursive: true })
    for (const name of await namesIn(target, '.js')) {
      if (!names.includes(`${basename(name, '.js')}.ts`)) await rm(join(target, name))
    }
    for (const name of names) {
      const file = join(source, name)
      const text = await readFile(file, 'utf8')
      if (!first && compiled.get(file) !== text) await compile(file, join(target, `${basename(name, '.ts')}.js`), text)
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

/** A folder that does not exist is an empty one. */
async function namesIn (folder: string, ending: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => name.endsWith(ending))
}
