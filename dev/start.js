import { fileURLToPath } from 'node:url'
import { transpile } from './transpile.js'

/**
 * `npm run dev`: compiles to .dev/ without checking types, which takes seconds, and starts dev/main.ts. Types are
 * checked once the server listens, and whenever a file is saved.
 */
const FOLDERS = ['src', 'plugins', 'routes', 'dev']
const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))

await transpile(path('.dev'), { folders: FOLDERS })
await import(new URL('../.dev/dev/main.js', import.meta.url).href)
if (process.exitCode === undefined) {
  const { watchTypes } = await import(new URL('../.dev/dev/watch-types.js', import.meta.url).href)
  watchTypes({
    folders: FOLDERS.map(path),
    // The build info makes every check but the first a matter of a second.
    command: [
      path('node_modules/typescript-native/lib/tsc.js'), '-p', path('dev'),
      '--incremental', '--tsBuildInfoFile', path('.dev/types.tsbuildinfo'), '--pretty', 'false'
    ],
    print: (text) => { console.log(text) }
  })
}
