import type { EventOf } from './events.ts'

/** The fields of a line: the name of its event (events.ts), and more. */
interface Fields<Event> {
  event: Event
  [name: string]: unknown
}

/** The part of a logger that services use: fields, then a sentence. Fastify's `log` is one. */
export interface Log {
  info (fields: Fields<EventOf<'info'>>, message: string): void
  warn (fields: Fields<EventOf<'warn'>>, message: string): void
  error (fields: Fields<EventOf<'error'>>, message: string): void
}
