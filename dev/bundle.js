import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * The JavaScript that `npm run build` makes, beside the types that the compiler writes: the files that are started or
 * imported from outside, under the names that they have in the source tree, and what they share in src/chunks, packages
 * included. Node reads a few large files in half of the time that it needs for a thousand small ones.
 *
 *   node dev/bundle.js <folder>
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const EMPTY_MAP = Buffer.from('{"version":3,"sources":[""],"mappings":"A"}').toString('base64')
const NO_MAP = `data:application/json;base64,${EMPTY_MAP}`

/** CommonJS packages ask for Node's own modules by `require`. */
export const REQUIRE = {
  js: "import{createRequire as seedCreateRequire}from'node:module';const require=seedCreateRequire(import.meta.url);"
}

/** Node reads the map of every file at start: those of packages are most of it, and nobody asks for their lines. */
const withoutMapsOfPackages = {
  name: 'without-maps-of-packages',
  setup ({ onLoad }) {
    onLoad({ filter: /[\\/]node_modules[\\/].*\.[cm]?js$/ }, async ({ path }) => ({
      contents: `${await readFile(path, 'utf8')}\n//# sourceMappingURL=${NO_MAP}`,
      loader: 'js'
    }))
  }
}

/** @param {string} out the folder to write */
export async function bundle (out) {
  const own = ['src/tools', 'src/prompts', 'src/resources'].flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`)
  )

  await build({
    absWorkingDir: ROOT,
    entryPoints: [
      'src/server.ts',
      'src/cli.ts',
      'src/index.ts',
      'src/testing/index.ts',
      'src/extensions/link-worker.ts',
      ...own
    ],
    outdir: out,
    outbase: '.',
    // As deep as the folders of src, as some of what is there looks for others beside it.
    chunkNames: 'src/chunks/[name]-[hash]',
    bundle: true,
    // One module is one module, whoever imports it: a ToolError of an extension is the server's.
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    sourcesContent: false,
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'linked',
    banner: REQUIRE,
    plugins: [withoutMapsOfPackages],
    logLevel: 'warning'
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle(process.argv[2])
