import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * `npm run seed`: the built command line, or, where nothing is built, the sources, compiled as `npm run dev` does. The
 * folder is not that of `npm run dev`, which may be running.
 */
const FOLDERS = ['src', 'plugins', 'routes']
const url = (path) => new URL(`../${path}`, import.meta.url)

if (existsSync(url('dist/src/cli.js'))) {
  await import(url('dist/src/cli.js').href)
} else {
  const { transpile } = await import('./transpile.js')
  await transpile(fileURLToPath(url('.dev/cli')), { folders: FOLDERS })
  await import(url('.dev/cli/src/cli.js').href)
}
