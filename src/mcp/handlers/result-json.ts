/** A result that is larger than MCP_MAX_RESULT_BYTES. */
export class ResultTooLargeError extends Error {
  override readonly name = 'ResultTooLargeError'
  readonly maxBytes: number

  constructor (maxBytes: number) {
    super(`The result is larger than ${maxBytes} bytes`)
    this.maxBytes = maxBytes
  }
}

/**
 * Returns the JSON of what an author's code returned.
 *
 * @throws ResultTooLargeError; any error, for the author, if JSON cannot hold the value
 */
export function toJson (value: unknown, maxBytes: number): string {
  const json = JSON.stringify(value) as string | undefined
  if (json === undefined) throw new Error('It has no JSON form')
  checkSize(json, maxBytes)
  return json
}

/** Copies what JSON can hold of a value: later changes and getters of the author's have no effect on the copy. */
export function copyResult<T> (value: unknown, maxBytes: number): T {
  return JSON.parse(toJson(value, maxBytes)) as T
}

/** @throws ResultTooLargeError */
export function checkSize (text: string, maxBytes: number): void {
  // UTF-8 needs one to three bytes for each unit of a string.
  if (text.length * 3 <= maxBytes) return
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes) throw new ResultTooLargeError(maxBytes)
}
