/** A token that stands for no service. The message says what is expected, and nothing of what came. */
export class WorkloadTokenError extends Error {
  override readonly name = 'WorkloadTokenError'
  /** For the log: which service or claims are concerned. */
  readonly detail: string

  constructor (message: string, { detail = message, cause }: { detail?: string, cause?: unknown } = {}) {
    super(message, { cause })
    this.detail = detail
  }
}
