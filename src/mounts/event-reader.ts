import { StringDecoder } from 'node:string_decoder'

/** Reads the messages of an event stream (HTML, server-sent events). Comments, ids and other events are left out. */
export class EventReader {
  readonly #decoder = new StringDecoder('utf8')
  readonly #onData: (data: string) => void
  /** Parts of a line that has not ended. */
  #line: string[] = []
  #event = ''
  #data: string[] = []

  /** @param onData gets the data of each message */
  constructor (onData: (data: string) => void) {
    this.#onData = onData
  }

  read (chunk: Buffer): void {
    const [first, ...lines] = this.#decoder.write(chunk).split('\n') as [string, ...string[]]
    this.#line.push(first)
    for (const next of lines) {
      this.#readLine(this.#line.join('').replace(/\r$/, ''))
      this.#line = [next]
    }
  }

  #readLine (line: string): void {
    if (line === '') {
      const isMessage = this.#event === '' || this.#event === 'message'
      if (isMessage && this.#data.length > 0) this.#onData(this.#data.join('\n'))
      this.#data = []
      this.#event = ''
      return
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line)!
    if (name === 'data') this.#data.push(value!)
    else if (name === 'event') this.#event = value!
  }
}
