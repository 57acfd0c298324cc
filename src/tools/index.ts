import type { ToolDefinition } from '../mcp/define.ts'
import { seedPing } from './seed-ping.ts'

/** The tools this server offers. Add yours here. */
export const tools: readonly ToolDefinition[] = [seedPing]
