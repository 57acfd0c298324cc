import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { ROOT } from './root.ts'

/**
 * The release that people upgrade from: version 0.1.3, as a commit of this repository. When a release is made, put its
 * commit here.
 */
export const PREVIOUS_RELEASE = '1d84c4b8f1e970d98e7fa815117c4de4edf30124'

const CACHE = join(homedir(), '.cache/seed-ship')

const run = promisify(execFile)

/** Runs git in this checkout, whoever owns it. */
async function git (...args: string[]): Promise<string> {
  return (await run('git', ['-c', 'safe.directory=*', ...args], { cwd: ROOT })).stdout.trim()
}

/**
 * Builds the previous release outside of the checkout, once. A complete clone without its commit fails the test in CI.
 * A shallow clone, or a copy without history, cannot have it: there the test is skipped by name.
 *
 * @returns its folder; the compiled files are in `.release`
 */
export async function previousReleaseForTests (t: Test): Promise<string | undefined> {
  const isThere = await git('cat-file', '-e', `${PREVIOUS_RELEASE}^{commit}`).then(() => true, () => false)
  if (!isThere) {
    const isComplete = await git('rev-parse', '--is-shallow-repository').then((text) => text === 'false', () => false)
    const hint = `this checkout lacks the previous release, commit ${PREVIOUS_RELEASE}: git fetch --unshallow`
    if (process.env['CI'] && isComplete) t.fail(hint)
    else t.plan(0, hint)
    return undefined
  }
  const folder = join(CACHE, PREVIOUS_RELEASE)
  if (!existsSync(folder)) await build(folder)
  return folder
}

/** Builds in a folder beside, so that whatever interrupts the build leaves nothing behind that looks complete. */
async function build (folder: string): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  const unfinished = await mkdtemp(join(CACHE, 'build-'))
  try {
    const archive = join(unfinished, 'release.tar')
    await git('archive', '--output', archive, PREVIOUS_RELEASE)
    await run('tar', ['xf', archive, '-C', unfinished])
    await rm(archive)
    await installPackages(unfinished)
    await run(process.execPath, ['dev/transpile.js', '.release'], { cwd: unfinished })
    await rename(unfinished, folder)
  } catch (err) {
    await rm(unfinished, { recursive: true, force: true })
    // Another test may have been faster.
    if (!existsSync(folder)) throw err
  }
}

/** Installs the packages that the release runs with; the compiler is this checkout's. */
async function installPackages (folder: string): Promise<void> {
  const options = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund']
  await run('npm', ['ci', ...options], { cwd: folder, maxBuffer: 64_000_000 })
  await symlink(join(ROOT, 'node_modules/esbuild'), join(folder, 'node_modules/esbuild'))
}
