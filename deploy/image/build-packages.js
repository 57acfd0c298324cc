import { readFile, writeFile } from 'node:fs/promises'

/**
 * Leaves the production packages and those that `dev/bundle.js` needs in package.json and package-lock.json, so that
 * `npm ci` in the build stage of an image installs a tenth of what developers install, still at the locked versions.
 *
 *   node deploy/image/build-packages.js [more development packages]
 */
const NEEDED = ['esbuild', ...process.argv.slice(2)]

const manifest = JSON.parse(await readFile('package.json', 'utf8'))
const lock = JSON.parse(await readFile('package-lock.json', 'utf8'))

const devDependencies = Object.fromEntries(
  Object.entries(manifest.devDependencies).filter(([name]) => NEEDED.includes(name))
)
const kept = new Set(NEEDED.flatMap((name) => closure(`node_modules/${name}`)))
const packages = Object.entries(lock.packages).filter(([path, { dev, devOptional }]) =>
  (!dev && !devOptional) || kept.has(path))

await writeFile('package.json', JSON.stringify({ ...manifest, devDependencies }))
await writeFile('package-lock.json', JSON.stringify({
  ...lock,
  packages: { ...Object.fromEntries(packages), '': { ...lock.packages[''], devDependencies } }
}))

/** Returns the path of a package in the lock file, and those of everything that it depends on. */
function closure (path, seen = new Set()) {
  if (seen.has(path)) return []
  seen.add(path)
  const { dependencies, optionalDependencies } = lock.packages[path]
  const names = Object.keys({ ...dependencies, ...optionalDependencies })
  return [path, ...names.flatMap((name) => closure(locate(name, path), seen))]
}

/** Returns the path of a package as Node resolves it from another. */
function locate (name, from) {
  const nested = `${from}/node_modules/${name}`
  if (Object.hasOwn(lock.packages, nested)) return nested
  const parent = from.lastIndexOf('/node_modules/')
  return parent === -1 ? `node_modules/${name}` : locate(name, from.slice(0, parent))
}
