import { build } from 'esbuild'
import { REQUIRE } from '../../dev/bundle.js'

/**
 * Bundles the development provider with its packages into one file.
 *
 *   node deploy/demo/bundle-provider.js <file>
 */
await build({
  entryPoints: ['dev/demo-provider.ts'],
  outfile: process.argv[2],
  bundle: true,
  // oidc-provider finds its classes by their names.
  keepNames: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  banner: REQUIRE,
  logLevel: 'warning'
})
