/** JSON-RPC, a message a line. */
export function talk (
  stdin: NodeJS.WritableStream,
  stdout: NodeJS.ReadableStream
): (method: string, params: object) => Promise<unknown> {
  const waiting = new Map<number, (result: unknown) => void>()
  let rest = ''
  let id = 0
  stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      const message = JSON.parse(line) as { id?: number, result?: unknown, error?: unknown }
      if (message.id !== undefined) waiting.get(message.id)?.(message.result ?? message.error)
    }
  })
  return async (method, params) => await new Promise((resolve) => {
    waiting.set(++id, resolve)
    stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
  })
}
