import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Validator } from 'typebox/compile'
import type { ToolDefinition } from '../../define/tool.ts'
import { checkName } from './compile-definitions.ts'
import { readHeaderParams } from './param-headers.ts'
import type { HeaderParam } from './param-headers.ts'

/** A tool whose schemas are compiled. */
export interface CompiledTool {
  definition: ToolDefinition
  input: Validator
  /** Undefined if the tool declares no structured output. */
  output: Validator | undefined
  /** Arguments that clients repeat in headers (`x-mcp-header`). */
  headerParams: readonly HeaderParam[]
}

const ANY_ARGUMENTS = Compile(Type.Object({}))

/** Several endpoints may offer a tool, and it stays when mounted servers change theirs: it is compiled once. */
const compiled = new WeakMap<ToolDefinition, CompiledTool>()

/** @throws Error if clients could not use the tool */
export function compileTool (definition: ToolDefinition): CompiledTool {
  const known = compiled.get(definition)
  if (known !== undefined) return known
  const tool = compile(definition)
  compiled.set(definition, tool)
  return tool
}

function compile (definition: ToolDefinition): CompiledTool {
  checkName('Tool', definition.name)
  const { input, output, checkedUpstream = false } = definition
  return {
    definition,
    input: checkedUpstream ? ANY_ARGUMENTS : Compile(input),
    output: checkedUpstream ? undefined : output && Compile(output),
    headerParams: readHeaderParams(definition)
  }
}
