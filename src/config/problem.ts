import type { Env } from './schema.ts'

/** A setting that needs attention; the message names it and says what to set. */
export interface Problem {
  setting: keyof Env
  message: string
}

/** Reports every problem of the configuration at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor (problems: readonly Problem[]) {
    const count = problems.length === 1 ? 'one setting needs' : `${problems.length} settings need`
    const lines = problems.map(({ message }) => `\n  - ${message}`)
    super(`Seed cannot start: ${count} attention (see .env.example)${lines.join('')}`)
    this.problems = problems.map(({ message }) => message)
  }
}
