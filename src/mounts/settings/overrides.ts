import type { MountEntry, Override } from './mount-schema.ts'

/** The members of a mount whose single entries may have changes. */
export type OverriddenMember = 'tools' | 'prompts'

/** The changes of a single tool or prompt, and where they are: `tools.overrides.close_ticket`. */
export interface PlacedOverride {
  member: OverriddenMember
  /** The name at the mounted server. */
  name: string
  place: string
  override: Override
}

type Overridable = Pick<MountEntry, OverriddenMember>

/** Returns the changes of all single tools and prompts of a mount. */
export function listOverrides (mount: Overridable): PlacedOverride[] {
  return (['tools', 'prompts'] as const).flatMap((member) => Object.entries(overridesOf(mount, member))
    .map(([name, override]) => ({ member, name, place: placeOf(member, name), override })))
}

/** Finds the changes of one. Its name is the server's choice, so it may be one that every object has. */
export function findOverride (mount: Overridable, member: OverriddenMember, name: string): Override | undefined {
  const overrides = overridesOf(mount, member)
  return Object.hasOwn(overrides, name) ? overrides[name] : undefined
}

export function placeOf (member: OverriddenMember, name: string): string {
  return `${member}.overrides.${name}`
}

function overridesOf (mount: Overridable, member: OverriddenMember): Readonly<Record<string, Override>> {
  const selection = mount[member]
  return typeof selection === 'object' ? selection.overrides ?? {} : {}
}
