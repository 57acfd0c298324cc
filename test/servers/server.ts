import type { Test } from 'tap'
import type { Params } from '../providers/client.ts'

/** A real MCP server, which Seed mounts by its name. */
export interface RealServer {
  name: string
  /** Downloads what is missing. @throws RegistryUnreachable */
  install? (): Promise<void>
  /** Starts it on a port of this machine, unless it speaks stdio. @returns the entry of SEED_MOUNTS */
  start (t: Test): Promise<HttpEntry | StdioEntry>
  plan: Plan
}

export interface HttpEntry {
  url: string
  tools?: object
}

export interface StdioEntry {
  command: string
  args: string[]
  env: Record<string, string>
  tools?: object
}

/** What clients do with a server, by its own names: everything that it offers. */
export interface Plan {
  /** Arguments of the calls of each tool. */
  tools: Record<string, Params[]>
  /** Tools that are not called, and why. */
  uncalled?: Record<string, string>
  /** Names that Seed leaves out, which the log says. */
  refused?: { tools?: string[], prompts?: string[] }
  /** Names that the operator gives tools. */
  renamed?: Record<string, string>
  prompts?: Record<string, Record<string, string>>
  /** URIs that templates lead to; all resources of the list are read. */
  uris?: string[]
  completions?: Array<{ ref: Params, argument: { name: string, value: string } }>
}
