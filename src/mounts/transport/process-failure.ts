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

/** The process was ended for its memory: a call may have asked for too much. */
export class MemoryExceededFailure extends ProcessFailure {
  /** @param limit the limit that it has exceeded */
  constructor (limit: number) {
    super(`it used more than ${limit} bytes of memory (maxMemoryBytes)`)
  }
}
