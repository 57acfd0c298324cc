import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runInstaller } from './run-installer.ts'

/**
 * Fills a folder with the packages of a `package-lock.json`, unless it has exactly these.
 *
 * @param source the folder of `package.json` and `package-lock.json`, which pins all packages
 * @throws RegistryUnreachable
 */
export async function installNpm (folder: string, source: string): Promise<void> {
  const lock = await readFile(join(source, 'package-lock.json'), 'utf8')
  const installed = join(folder, 'installed-lock.json')
  if (await readFile(installed, 'utf8').catch(() => '') === lock) return
  for (const file of ['package.json', 'package-lock.json']) await copyFile(join(source, file), join(folder, file))
  await runInstaller('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder })
  await writeFile(installed, lock)
}
