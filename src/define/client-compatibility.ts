import { describeDefinition, fileOf } from './definition.ts'
import type { Definition } from './definition.ts'
import type { ToolDefinition } from './tool.ts'

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
  const warnings = summarize(tools.flatMap((tool): IncompatibleTool[] => {
    const combined = TOP_LEVEL.filter((keyword) => keyword in tool.input)
    return [
      ...(PORTABLE_NAME.test(tool.name)
        ? []
        : [{ tool, problem: 'some clients refuse names of other than 1 to 64 letters, digits, _ and -' }]),
      ...combined.map((keyword) => ({
        tool, problem: `some clients refuse an input with ${keyword} at the top level: put it into a property`
      }))
    ]
  }))
  if (tools.length <= MAX_TOOLS) return warnings
  const message = `${tools.length} tools are offered: many clients and models refuse or lose tools beyond about ` +
    `${MAX_TOOLS}. A policy shows each caller fewer`
  return [...warnings, { message }]
}

interface IncompatibleTool {
  tool: ToolDefinition
  problem: string
}

/** Returns a warning for each tool; one for all tools of a mounted server with the same problem: they may be many. */
function summarize (incompatible: readonly IncompatibleTool[]): CompatibilityWarning[] {
  const groups = new Map<unknown, IncompatibleTool[]>()
  for (const one of incompatible) {
    const key = one.tool.checkedUpstream === true ? `${fileOf(one.tool)}: ${one.problem}` : one
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [one])
    else group.push(one)
  }
  return [...groups.values()].map(([first, ...others]) => {
    const { tool, problem } = first!
    const label = describeDefinition(tool)
    const all = others.length === 0 ? label : `${label} and ${others.length} others`
    return { file: fileOf(tool), message: `${all}: ${problem}` }
  })
}
