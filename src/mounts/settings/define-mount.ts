import type { MountEntry } from './mount-schema.ts'

/** A mount as `defineMount` takes it: the members of an entry of SEED_MOUNTS, and its name. */
export type MountDeclaration = MountEntry & {
  /** Prefixes everything that the server offers: 1 to 32 lower-case letters, digits and `-`. */
  name: string
}

/** A mounted MCP server, as an extension exports it. Its members are checked when the server starts. */
export interface MountDefinition {
  readonly kind: 'mount'
  readonly name: string
  readonly entry: MountEntry
}

/** A mount of an extension, and where it comes from. */
export interface DeclaredMount {
  mount: MountDefinition
  /** The absolute path of the file that exports it, or the name of the package. */
  file: string
  /** The folder that its relative paths start at. */
  folder: string
}

/**
 * Defines an MCP server that Seed offers as its own. Relative paths in it, such as `secret.file`, start at the folder
 * of the file that exports it; in a package, at the folder in which Seed is started.
 */
export function defineMount ({ name, ...entry }: MountDeclaration): MountDefinition {
  return { kind: 'mount', name, entry }
}

/** Whether a value was returned by `defineMount`. */
export function isMountDefinition (value: unknown): value is MountDefinition {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'mount'
}
