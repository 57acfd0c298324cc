/**
 * The result of a server behind this one, as a mounted server gives it. The client gets it whole: it is checked against
 * the types of MCP and the limit of its size, and nothing is added or left out.
 */
export class UpstreamResult {
  readonly result: object

  constructor (result: object) {
    this.result = result
  }
}

/** The JSON-RPC error of a server behind this one. The client gets its code, message and data. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly code: number
  readonly data: unknown

  constructor (code: number, message: string, data?: unknown) {
    super(message)
    this.code = code
    this.data = data
  }
}
