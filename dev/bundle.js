import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * The JavaScript that `npm run build` makes, beside the types that the compiler writes: the files that are started or
 * imported from outside, under the names that they have in the source tree, and what they share in src/chunks, packages
 * included. Node reads a few large files in half of the time that it needs for a thousand small ones.
 *
 *   node dev/bundle.js <folder> [file...]
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const EMPTY_MAP = Buffer.from('{"version":3,"sources":[""],"mappings":"AAAA"}').toString('base64')
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

/**
 * @param {string} out the folder to write
 * @param {string[]} [others] further files that are imported from outside
 */
export async function bundle (out, others = []) {
  const own = ['src/tools', 'src/prompts', 'src/resources'].flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`)
  )

  const common = {
    absWorkingDir: ROOT,
    outdir: out,
    outbase: '.',
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'linked',
    banner: REQUIRE,
    logLevel: 'warning'
  }
  await build({
    ...common,
    entryPoints: [
      'src/server.ts',
      'src/cli.ts',
      'src/seed-mcp-server.ts',
      'src/index.ts',
      'src/testing/index.ts',
      'src/extensions/link-worker.ts',
      'src/mounts/watchdog.ts',
      ...own,
      ...others
    ],
    // As deep as the folders of src, as some of what is there looks for others beside it.
    chunkNames: 'src/chunks/[name]-[hash]',
    // One module is one module, whoever imports it: a ToolError of an extension is the server's.
    splitting: true,
    // Stack traces in the log name the lines of the sources, which are not shipped.
    sourcemap: true,
    sourcesContent: false,
    plugins: [withoutMapsOfPackages]
  })
  // `seed demo` with the development provider, apart: oidc-provider finds its classes by their names, which a bundler
  // changes, and the server would pay for keeping all of them.
  await build({ ...common, entryPoints: ['dev/demo.ts'], keepNames: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle(process.argv[2], process.argv.slice(3))
