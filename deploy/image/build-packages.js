import { readFile, writeFile } from 'node:fs/promises'

/**
 * Takes what only developers need out of package.json and package-lock.json, so that `npm ci` in the build stage of an
 * image installs a fifth of what they install, still at the locked versions.
 */
const UNNEEDED = [
  '@arethetypeswrong/cli', '@modelcontextprotocol/sdk', '@types/node',
  'dependency-cruiser', 'dockerfile-utils', 'eslint', 'fast-check', 'neostandard', 'publint', 'puppeteer-core', 'tap',
  'typescript', 'typescript-native'
]

const manifest = JSON.parse(await readFile('package.json', 'utf8'))
const lock = JSON.parse(await readFile('package-lock.json', 'utf8'))

const devDependencies = Object.fromEntries(
  Object.entries(manifest.devDependencies).filter(([name]) => !UNNEEDED.includes(name))
)
const needed = new Set([''])
for (const name of Object.keys({ ...manifest.dependencies, ...devDependencies })) add(`node_modules/${name}`)

await writeFile('package.json', JSON.stringify({ ...manifest, devDependencies }))
const packages = { ...lock.packages, '': { ...lock.packages[''], devDependencies } }
await writeFile('package-lock.json', JSON.stringify({
  ...lock,
  packages: Object.fromEntries(Object.entries(packages).filter(([path]) => needed.has(path)))
}))

/** Adds a package of the lock file, and everything that it depends on. */
function add (path) {
  // Packages for other platforms may be left out.
  if (needed.has(path) || !Object.hasOwn(lock.packages, path)) return
  needed.add(path)
  const { dependencies, optionalDependencies, peerDependencies } = lock.packages[path]
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
    add(locate(name, path))
  }
}

/** Returns the path of a package as Node.js resolves it from another. */
function locate (name, from) {
  const nested = `${from}/node_modules/${name}`
  if (Object.hasOwn(lock.packages, nested)) return nested
  const parent = from.lastIndexOf('/node_modules/')
  return parent === -1 ? `node_modules/${name}` : locate(name, from.slice(0, parent))
}
