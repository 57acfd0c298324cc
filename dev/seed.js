import { fileURLToPath } from 'node:url'

/**
 * `npm run seed`: the sources, compiled as `npm run dev` does, so that an old build answers nothing; the built command
 * line only where the compiler is not installed (`npm ci --omit=dev`). The folder is not that of `npm run dev`, which
 * may be running.
 */
const FOLDERS = ['src', 'plugins', 'routes', 'dev']
const url = (path) => new URL(`../${path}`, import.meta.url)

const compiler = await import('./transpile.js').catch((err) => {
  if (err.code !== 'ERR_MODULE_NOT_FOUND') throw err
})
if (compiler === undefined) {
  await import(url('dist/src/cli.js').href)
} else {
  await compiler.transpile(fileURLToPath(url('.dev/cli')), { folders: FOLDERS })
  await import(url('.dev/cli/src/cli.js').href)
}
