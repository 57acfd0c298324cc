import { posix } from 'node:path'
import { toCamelCase, toKebabCase } from './names.ts'
import { settingsOf } from './setting-names.ts'
import type { ApiSettings } from './setting-names.ts'

/** Places of the files of an API, and its name in them. */
export interface ImportTarget {
  /** Name of the API in snake case, which is in the names of its files and settings. */
  name: string
  /** Folder of the tools. */
  out: string
  /** Folder of their tests. */
  tests: string
}

/** The names that the files of an API share. */
export interface TargetNames {
  clientFile: string
  clientTestFile: string
  mockFile: string
  manifestFile: string
  /** Names that no tool may have, as its test would have the path of the client's. */
  reservedToolNames: readonly string[]
  /** The function that all tools call. */
  caller: string
  /** Specifier of the client, from a tool. */
  clientSpecifier: string
  /** Specifier of the mock, from a test. */
  mockSpecifier: string
  settings: ApiSettings
}

export function namesOf ({ name, out, tests }: ImportTarget): TargetNames {
  const [kebab, camel] = [toKebabCase(name), toCamelCase(`call_${name}`)]
  return {
    // Seed loads no files that begin with an underscore.
    clientFile: posix.join(out, `_${kebab}-client.ts`),
    clientTestFile: posix.join(tests, `${kebab}-client.test.ts`),
    mockFile: posix.join(tests, `_${kebab}-api.ts`),
    manifestFile: posix.join(out, `_${kebab}-import.json`),
    reservedToolNames: [`${name}_client`],
    caller: camel,
    clientSpecifier: `./_${kebab}-client.js`,
    mockSpecifier: `./_${kebab}-api.js`,
    settings: settingsOf(name)
  }
}

/** Returns the specifier by which a file in `tests` imports one of `out`. */
export function specifierFromTests ({ out, tests }: ImportTarget, file: string): string {
  const path = posix.relative(tests, posix.join(out, file))
  return (path.startsWith('.') ? path : `./${path}`).replace(/\.ts$/, '.js')
}
