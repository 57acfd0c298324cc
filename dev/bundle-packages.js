import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { REQUIRE } from './bundle.js'

/**
 * Bundles npm packages into a few files for the tests. A test process loads about a thousand files of packages, and
 * tap's module hooks add about a millisecond of CPU time to each of them; there are a hundred and forty such processes.
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))

/**
 * Writes one module a specifier, with the exports that Node sees, and what these share in chunks beside them.
 *
 * @param {string} out the folder to write
 * @param {Iterable<string>} specifiers as the sources import them, such as `typebox/compile`
 */
export async function bundlePackages (out, specifiers) {
  const exportsOf = new Map()
  for (const specifier of specifiers) exportsOf.set(specifier, Object.keys(await import(specifier)).filter(isName))
  const entryPoints = Array.from(exportsOf.keys(), (specifier) => ({
    in: `package:${specifier}`,
    out: bundledPackage(specifier).slice(0, -'.js'.length)
  }))
  const reexport = {
    name: 'reexport',
    setup ({ onResolve, onLoad }) {
      onResolve({ filter: /^package:/ }, ({ path }) => ({ path: path.slice('package:'.length), namespace: 'package' }))
      onLoad({ filter: /./, namespace: 'package' }, ({ path }) => ({
        contents: `export { ${exportsOf.get(path).join(', ')} } from ${JSON.stringify(path)}`,
        resolveDir: ROOT
      }))
    }
  }
  await build({
    absWorkingDir: ROOT,
    entryPoints,
    outdir: out,
    chunkNames: 'shared-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    minifyWhitespace: true,
    // tap shows the lines around a failure, and takes minutes to wrap one of 100 kB.
    lineLimit: 200,
    banner: REQUIRE,
    plugins: [reexport],
    logLevel: 'warning'
  })
}

/** @returns {string} the name of the file for `typebox/compile` */
export function bundledPackage (specifier) {
  return `${specifier.replace(/[^a-z0-9]+/gi, '-')}.js`
}

/** A CommonJS module is seen with the export `module.exports`, too, and one made of an ES module with a mark of it. */
function isName (name) {
  return /^[\w$]+$/.test(name) && name !== '__esModule'
}
