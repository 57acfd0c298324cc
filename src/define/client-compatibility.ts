import { describeDefinition, fileOf } from './definition.ts'
import type { Definition } from './definition.ts'

/** A definition that works here, and that some clients refuse. */
export interface CompatibilityWarning {
  file?: string | undefined
  message: string
}

/** Hosted clients hand tool names to a model's API, whose names are these. */
const PORTABLE_NAME = /^[a-zA-Z0-9_-]{1,64}$/
const TOP_LEVEL = ['oneOf', 'anyOf', 'allOf']
const MAX_TOOLS = 200

/** Finds what is known to break clients, for a warning at start, and in development when a file is saved. */
export function findCompatibilityWarnings (definitions: readonly Definition[]): CompatibilityWarning[] {
  const tools = definitions.filter((definition) => definition.kind === 'tool')
  const warnings = tools.flatMap((tool): CompatibilityWarning[] => {
    const file = fileOf(tool)
    const label = describeDefinition(tool)
    const combined = TOP_LEVEL.filter((keyword) => keyword in tool.input)
    return [
      ...(PORTABLE_NAME.test(tool.name)
        ? []
        : [{ file, message: `${label}: some clients refuse names of other than 1 to 64 letters, digits, _ and -` }]),
      ...combined.map((keyword) => ({
        file,
        message: `${label}: some clients refuse an input with ${keyword} at the top level: put it into a property`
      }))
    ]
  })
  if (tools.length <= MAX_TOOLS) return warnings
  const message = `${tools.length} tools are offered: many clients and models refuse or lose tools beyond about ` +
    `${MAX_TOOLS}. A policy shows each caller fewer`
  return [...warnings, { message }]
}
