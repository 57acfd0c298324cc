/** One HTTP answer, as far as it is needed to check it. */
export interface Answer {
  status: number
  headers: string
  body: string
  /** The position at which the body begins in what was received. */
  bodyStart: number
}

/** The answer in what was received so far; undefined while some of it is missing. One at a time: no pipelining. */
export function readAnswer (received: Buffer): Answer | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const headers = received.toString('latin1', 0, end)
  const status = Number(headers.slice(9, 12))
  const bodyStart = end + 4
  const body = /^transfer-encoding: *chunked/im.test(headers)
    ? readChunks(received, bodyStart)
    : readLength(
      received,
      bodyStart,
      Number(/^content-length: *(\d+)/im.exec(headers)?.[1] ?? (status === 202 || status === 204 ? 0 : NaN))
    )
  return body === undefined ? undefined : { status, headers, body, bodyStart }
}

function readLength (received: Buffer, start: number, length: number): string | undefined {
  if (Number.isNaN(length)) throw new Error('The answer says neither how long it is nor that it comes in chunks')
  return received.length < start + length ? undefined : received.toString('utf8', start, start + length)
}

function readChunks (received: Buffer, start: number): string | undefined {
  const parts: Buffer[] = []
  for (let at = start; ;) {
    const lineEnd = received.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = parseInt(received.toString('latin1', at, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (received.length < next) return undefined
    if (size === 0) return Buffer.concat(parts).toString()
    parts.push(received.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = next
  }
}

interface Message {
  jsonrpc?: unknown
  id?: unknown
  result?: { content?: Array<{ type?: unknown, text?: unknown }>, isError?: unknown, tools?: Array<{ name?: unknown }> }
}

/** The JSON-RPC response with this id in a body of JSON or of server-sent events. */
function findResponse (body: string, id: number): Message | undefined {
  const texts = body.startsWith('{')
    ? [body]
    : body.split('\n').flatMap((line) => /^data: *(\S.*)$/.exec(line)?.[1] ?? [])
  return texts.map((text) => JSON.parse(text) as Message).find((message) => message.id === id)
}

/** Names the fault of an answer to a call of `ping`; undefined if there is none. */
export function checkPong (id: number, { status, body }: Answer): string | undefined {
  if (status !== 200) return `HTTP ${status}: ${body.slice(0, 300)}`
  const response = findResponse(body, id)
  const content = response?.result?.content
  const right =
    response?.jsonrpc === '2.0' &&
    content?.length === 1 &&
    content[0]!.type === 'text' &&
    content[0]!.text === 'pong' &&
    response.result!.isError !== true
  return right ? undefined : `not the pong of ${id}: ${body.slice(0, 300)}`
}

/** The same for tools/list. */
export function checkList (id: number, tools: number, { status, body }: Answer): string | undefined {
  if (status !== 200) return `HTTP ${status}: ${body.slice(0, 300)}`
  const listed = findResponse(body, id)?.result?.tools
  return listed?.length === tools && listed.some(({ name }) => name === 'ping')
    ? undefined
    : `not the ${tools} tools for ${id}: ${body.slice(0, 300)}`
}
