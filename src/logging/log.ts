/** The part of a logger that services use: fields, then a sentence. Fastify's `log` is one. */
export interface Log {
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}
