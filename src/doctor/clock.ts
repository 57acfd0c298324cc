import type { Config } from '../config/config.ts'
import { boundedFetch } from '../net/fetch.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { REQUEST_MS } from './within.ts'

/** Date headers are whole seconds, and the answer takes some time. */
const UNCERTAINTY_SECONDS = 2

/** Compares the clock with the provider's, by the Date header of its answer. */
export async function checkClock ({ oidc, token }: Config, now: () => number): Promise<Finding[]> {
  const about = question('provider.clock', `the Date header of ${oidc.discoveryUrl}`)
  const { headers } = await boundedFetch(oidc.discoveryUrl, {}, { timeoutMs: REQUEST_MS })
  const date = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(date)) return [about.unknown('no Date header', 'The clocks could not be compared')]
  const seconds = Math.round((now() - date) / 1_000)
  const answered = `this clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead'}`
  if (Math.abs(seconds) > token.clockSkewSeconds + UNCERTAINTY_SECONDS) {
    return [about.error(answered, 'Tokens will be refused as expired or not yet valid: set this clock, or the ' +
      'provider\'s, by NTP', { setting: 'TOKEN_CLOCK_SKEW_SECONDS', value: '30' })]
  }
  if (Math.abs(seconds) > 2 * UNCERTAINTY_SECONDS) {
    return [about.warning(answered, 'The clocks differ, within TOKEN_CLOCK_SKEW_SECONDS: set both by NTP')]
  }
  return [about.ok(answered, 'This clock and the provider\'s agree')]
}
