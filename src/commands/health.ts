import { get } from 'node:http'
import { defineCommand, parseSeconds } from './command.ts'

export const command = defineCommand({
  description: [
    'Asks the server on this machine whether it is well: by default whether its process answers (/health/live), with ' +
    '--ready whether it should get requests, which needs the provider and, if it is used, Redis (/health/ready). It ' +
    'finds the server by HOST and PORT.',
    'The exit code is 0 if it is, and 1 otherwise.'
  ],
  examples: [
    ['seed health', 'The health check of a container'],
    ['seed health --ready --timeout 10', 'Is the provider reachable, too?']
  ],

  declare: (parser) => parser
    .option('--ready', 'ask /health/ready', false)
    .option('--timeout <seconds>', 'how long to wait for the answer', parseSeconds, 3),

  async run ({ ready, timeout }, { readSettings, print, printError }) {
    const url = new URL(ready ? '/health/ready' : '/health/live', originOf(readSettings()))
    try {
      const { status, body } = await fetchHealth(url, timeout)
      if (status === 200) {
        print(`${url.href}: ${body}`)
        return 0
      }
      printError(`${url.href} answered ${status}: ${body}`)
    } catch (err) {
      const { code } = err as NodeJS.ErrnoException
      const reason = code === 'ABORT_ERR' ? `nothing within ${timeout} seconds` : code
      printError(`${url.href} does not answer (${reason}): is Seed running here, with this HOST and PORT?`)
    }
    return 1
  }
})

/** Returns where the server listens. One that listens on all addresses listens on loopback, too. */
function originOf (settings: ReadonlyMap<string, string>): string {
  const host = settings.get('HOST') ?? 'localhost'
  const loopback = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${loopback.includes(':') ? `[${loopback}]` : loopback}:${settings.get('PORT') ?? '3000'}`
}

/** Uses node:http, as fetch takes longer to load than the answer takes to come. */
async function fetchHealth (url: URL, timeoutSeconds: number): Promise<{ status: number | undefined, body: string }> {
  return await new Promise((resolve, reject) => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(timeoutSeconds * 1_000) }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => { body += chunk })
      response.on('end', () => { resolve({ status: response.statusCode, body }) })
      response.on('error', reject)
    })
    request.on('error', reject)
  })
}
