/**
 * Collects the chunks of a stream in one buffer. Kept as they come, chunks of one byte, which a stranger may send,
 * would take a hundred times as much memory as the limits of their bytes allow.
 */
export class GrowingBuffer {
  #bytes: Uint8Array = EMPTY
  #length = 0

  append (chunk: Uint8Array): void {
    // A view of nothing would keep all that it is a view of.
    if (chunk.byteLength === 0) return
    const length = this.#length + chunk.byteLength
    if (this.#length === 0) {
      // Most often there is one chunk, which need not be copied. It is full, so the next one makes a copy.
      this.#bytes = chunk
    } else if (length > this.#bytes.byteLength) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#bytes.byteLength))
      grown.set(this.#bytes.subarray(0, this.#length))
      grown.set(chunk, this.#length)
      this.#bytes = grown
    } else {
      this.#bytes.set(chunk, this.#length)
    }
    this.#length = length
  }

  /** Returns what has been collected, and begins anew. */
  take (): Buffer {
    const { buffer, byteOffset } = this.#bytes
    const taken = Buffer.from(buffer, byteOffset, this.#length)
    this.#bytes = EMPTY
    this.#length = 0
    return taken
  }
}

const EMPTY = new Uint8Array()
