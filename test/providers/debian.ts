import { access } from 'node:fs/promises'
import { RegistryUnreachable } from './provider.ts'

/** Packages of Debian are no part of the cache: `.ci/run` installs them. @throws RegistryUnreachable */
export async function expectPackage (file: string, packages: string): Promise<void> {
  try {
    await access(file)
  } catch (err) {
    throw new RegistryUnreachable(`${file} is missing; as root: apt-get install --no-install-recommends ${packages}`, {
      cause: err
    })
  }
}
