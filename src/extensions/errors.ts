/** A file, folder or package of SEED_EXTENSIONS that cannot be used. The message names it and says why. */
export class ExtensionError extends Error {
  override readonly name = 'ExtensionError'
}

/** Says in one line why a module cannot be imported. What it throws need not be an error. */
export function describeImportError (err: unknown): string {
  if (!(err instanceof Error)) return `it throws ${String(err)}`
  // Node does not say which file has the syntax error.
  if (err instanceof SyntaxError) return `in it, or in a file that it imports: ${err.message}`
  return err.message.split('\n')[0]!
}
