/** Why the process of a mounted server cannot be used. */
export class ProcessFailure extends Error {
  override readonly name = 'ProcessFailure'
  /** Whether it cannot be started until the operator changes something. */
  readonly isRefusal: boolean

  constructor (message: string, { isRefusal = false } = {}) {
    super(message)
    this.isRefusal = isRefusal
  }
}
