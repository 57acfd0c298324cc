import type { Env } from './schema.ts'

export type Setting = keyof Env

/** A setting that needs attention; the message names it and says what to set. */
export interface Problem {
  setting: Setting
  message: string
}

/** The problems that a check finds. */
export type Problems = Generator<Problem, void>

export function problem (setting: Setting, text: string): Problem {
  return { setting, message: `${setting} ${text}` }
}

/** Quotes a value in a message. One that may hold a password is not shown. */
export function quote (value: string): string {
  return value.includes('@') ? 'not shown, as it has an @' : `"${value}"`
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
