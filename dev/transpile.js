import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
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

/** Leaves every import as it is, except that it names the JavaScript instead of the TypeScript. */
const importJavaScript = {
  name: 'import-javascript',
  setup ({ onResolve }) {
    onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === 'entry-point' ? undefined : { path: path.replace(/^(\.\.?\/.*)\.ts$/, '$1.js'), external: true }
    )
  }
}

/** @param {string} out @param {string[]} folders of the repository; what does not exist is skipped */
export async function transpile (out, folders = FOLDERS) {
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
    plugins: [importJavaScript],
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
