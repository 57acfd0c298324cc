/** A file could not be used: the message names it, and why. */
export class ExtensionError extends Error {
  override readonly name = 'ExtensionError'
}

/** Why a file cannot be imported, in one line. What it throws need not be an error. */
export function reasonOf (err: unknown): string {
  if (!(err instanceof Error)) return `it throws ${String(err)}`
  // Node does not say in which file it is.
  return err instanceof SyntaxError ? `in it, or in a file that it imports: ${err.message}` : err.message.split('\n')[0]!
}
