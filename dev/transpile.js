import { readdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * Turns the TypeScript of the repository into JavaScript with source maps, file by file and in the same folders,
 * without checking types. It takes about a second. Tests, `npm run dev` and the benchmark run the result.
 *
 *   node dev/transpile.js <folder>
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDERS = ['src', 'plugins', 'routes', 'dev', 'test', 'bench', 'examples']

/**
 * Leaves every import as it is, except that it names the JavaScript instead of the TypeScript.
 *
 * @param {(specifier: string, importer: string) => string} importPackage what to import for a package
 */
function importJavaScript (importPackage) {
  return {
    name: 'import-javascript',
    setup ({ onResolve }) {
      onResolve({ filter: /./ }, ({ importer, kind, path }) => {
        if (kind === 'entry-point') return undefined
        return {
          path: path.startsWith('.') ? path.replace(/\.ts$/, '.js') : importPackage(path, relative(ROOT, importer)),
          external: true
        }
      })
    }
  }
}

/**
 * @param {string} out
 * @param {object} [options]
 * @param {string[]} [options.folders] of the repository; what does not exist is skipped
 * @param {(specifier: string, importer: string) => string} [options.importPackage] what a source file, such as
 *   `src/app.ts`, imports for a package, such as `typebox/compile`
 */
export async function transpile (out, { folders = FOLDERS, importPackage = (specifier) => specifier } = {}) {
  const sources = folders
    .flatMap((folder) => filesIn(folder, ROOT))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  const targets = new Set(sources.map((file) => `${file.slice(0, -3)}.js`))
  // The tools folder, for one, is loaded file by file: a file whose source is gone would still be served.
  for (const file of folders.flatMap((folder) => filesIn(folder, out))) {
    if (!targets.has(file.replace(/\.map$/, ''))) rmSync(join(out, file))
  }
  await build({
    absWorkingDir: ROOT,
    entryPoints: sources,
    outdir: out,
    outbase: '.',
    // Only bundling rewrites imports. Every import is external, so each file still becomes one file.
    bundle: true,
    treeShaking: false,
    plugins: [importJavaScript(importPackage)],
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning'
  })
}

/** @returns {string[]} paths below `root`, without packages and hidden folders */
function filesIn (folder, root) {
  let entries
  try {
    entries = readdirSync(join(root, folder), { withFileTypes: true })
  } catch (err) {
    if (err.code === 'ENOENT') return []
    throw err
  }
  return entries.flatMap((entry) => {
    if (!entry.isDirectory()) return [`${folder}/${entry.name}`]
    return entry.name === 'node_modules' || entry.name.startsWith('.') ? [] : filesIn(`${folder}/${entry.name}`, root)
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await transpile(process.argv[2])
