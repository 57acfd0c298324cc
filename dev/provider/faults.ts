import { setTimeout as sleep } from 'node:timers/promises'
import { sendPage } from './pages.ts'
import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * A way in which an endpoint breaks: `down` drops the connection, `hang` never answers, `html` is 200 with a page,
 * `huge` 16 MiB of JSON of undeclared length, `redirect` a 302 to `/redirected`, `wrong-issuer` a discovery document
 * of another issuer, a number that status with an empty body, `slow` a delay in milliseconds before the real answer,
 * and `status` with `json` or `jwt` an answer that the test makes up.
 */
export type Fault =
  | 'down' | 'hang' | 'html' | 'huge' | 'redirect' | 'wrong-issuer'
  | number | { slow: number } | { status: number, json: unknown } | { status: number, jwt: string }

/** Answers with a fault. @returns false when the real answer is still to follow */
export async function breakDown (fault: Fault, req: IncomingMessage, res: ServerResponse): Promise<boolean> {
  if (typeof fault === 'number') res.writeHead(fault).end()
  else if (fault === 'down') req.socket.destroy()
  else if (fault === 'html') sendPage(res, 200, 'Hello', '<p>This is not what you asked for.</p>')
  else if (fault === 'redirect') res.writeHead(302, { location: '/redirected' }).end()
  else if (fault === 'huge') {
    res.writeHead(200, { 'content-type': 'application/json' }).write('{"filler":"')
    res.end(`${'a'.repeat(16 * 1024 * 1024)}"}`)
  } else if (typeof fault === 'object' && 'json' in fault) {
    res.writeHead(fault.status, { 'content-type': 'application/json' }).end(JSON.stringify(fault.json))
  } else if (typeof fault === 'object' && 'jwt' in fault) {
    res.writeHead(fault.status, { 'content-type': 'application/jwt' }).end(fault.jwt)
  } else if (typeof fault === 'object') {
    await sleep(fault.slow, undefined, { ref: false })
    return false
  }
  return fault !== 'wrong-issuer'
}
