import { createServer } from 'node:http'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** A span as the receiver has decoded it. */
export interface ReceivedSpan {
  traceId: string
  spanId: string
  parentSpanId: string
  traceState: string
  name: string
  kind: 'internal' | 'server' | 'client' | undefined
  attributes: Record<string, string | number | boolean>
  /** Ids of the spans that it links to. */
  links: string[]
  failed: boolean
}

/** A collector for traces that speaks OTLP/HTTP (http/protobuf). */
export interface OtlpReceiver {
  url: string
  spans: ReceivedSpan[]
  /** Attributes of the resources. */
  resource: ReceivedSpan['attributes']
  /** Every byte that was received, for searches. */
  received: () => string
  /** Headers of the last request to `/v1/traces`. */
  headers: Record<string, string | string[] | undefined>
  /** The status of its answers. */
  status: number
}

export async function startOtlpReceiver (t: Test): Promise<OtlpReceiver> {
  const bodies: Buffer[] = []
  const receiver: OtlpReceiver = {
    url: '',
    spans: [],
    resource: {},
    received: () => Buffer.concat(bodies).toString('latin1'),
    headers: {},
    status: 200
  }
  const server = createServer((request, response) => {
    buffer(request).then((body) => {
      if (request.url?.split('?')[0] === '/v1/traces') {
        receiver.headers = request.headers
        if (receiver.status === 200) {
          bodies.push(body)
          decodeExport(body, receiver)
        }
      }
      response.writeHead(receiver.status).end()
    }, t.error)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return receiver
}

/** ExportTraceServiceRequest (opentelemetry-proto, trace/v1/trace.proto). */
function decodeExport (body: Buffer, { spans, resource }: Pick<OtlpReceiver, 'spans' | 'resource'>): void {
  for (const resourceSpans of messages(body, 1)) {
    for (const described of messages(resourceSpans, 1)) Object.assign(resource, decodeAttributes(described, 1))
    for (const scopeSpans of messages(resourceSpans, 2)) spans.push(...messages(scopeSpans, 2).map(decodeSpan))
  }
}

const KINDS: Record<number, ReceivedSpan['kind']> = { 1: 'internal', 2: 'server', 3: 'client' }

function decodeSpan (span: Buffer): ReceivedSpan {
  const fields = decodeFields(span)
  const hex = (number: number): string => (fields.get(number)?.[0] as Buffer | undefined)?.toString('hex') ?? ''
  const text = (number: number): string => (fields.get(number)?.[0] as Buffer | undefined)?.toString() ?? ''
  return {
    traceId: hex(1),
    spanId: hex(2),
    traceState: text(3),
    parentSpanId: hex(4),
    name: text(5),
    kind: KINDS[fields.get(6)?.[0] as number],
    attributes: decodeAttributes(span, 9),
    links: messages(span, 13).map((link) => (decodeFields(link).get(2)![0] as Buffer).toString('hex')),
    failed: messages(span, 15).some((status) => decodeFields(status).get(3)?.[0] === 2)
  }
}

function decodeAttributes (message: Buffer, number: number): ReceivedSpan['attributes'] {
  return Object.fromEntries(messages(message, number).map((pair) => {
    const [key, value] = [1, 2].map((field) => messages(pair, field)[0]!)
    const [kind, [given]] = [...decodeFields(value!)][0]!
    return [key!.toString(), kind === 1 ? (given as Buffer).toString() : kind === 2 ? given === 1 : given as number]
  }))
}

function messages (message: Buffer, number: number): Buffer[] {
  return (decodeFields(message).get(number) ?? []) as Buffer[]
}

/** The fields of a message by their numbers (Protocol Buffers, encoding). */
function decodeFields (message: Buffer): Map<number, Array<Buffer | number>> {
  const fields = new Map<number, Array<Buffer | number>>()
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++]!
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const type = tag & 7
    const length = type === 2 ? varint() : type === 1 ? 8 : type === 5 ? 4 : 0
    const value = type === 0 ? varint() : message.subarray(at, at + length)
    at += length
    const number = tag >> 3
    fields.set(number, [...fields.get(number) ?? [], value])
  }
  return fields
}
