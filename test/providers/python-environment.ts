import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runInstaller } from './run-installer.ts'

/**
 * Makes a virtual environment with the packages of a `requirements.txt`, unless it has exactly these.
 *
 * @param source the folder of `requirements.txt`, which pins all packages
 * @throws RegistryUnreachable
 */
export async function installPython (folder: string, source: string): Promise<void> {
  const requirements = await readFile(join(source, 'requirements.txt'), 'utf8')
  const installed = join(folder, 'installed.txt')
  if (await readFile(installed, 'utf8').catch(() => '') === requirements) return
  const cwd = source
  await runInstaller('python3', ['-m', 'venv', folder], { cwd })
  await runInstaller(join(folder, 'bin/pip'), ['install', '--quiet', '--requirement', 'requirements.txt'], { cwd })
  await writeFile(installed, requirements)
}
