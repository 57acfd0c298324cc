import type { Config } from '../config/config.ts'
import type { Endpoint } from '../config/endpoints.ts'
import { examine } from '../doctor/examine.ts'
import { question } from '../doctor/finding.ts'
import { checkDiscovery } from '../doctor/provider-document.ts'
import { createReport, exitCodeOf, printReport } from '../doctor/report.ts'
import { createSignIn } from '../doctor/sign-in.ts'
import type { SignInResult } from '../doctor/sign-in.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { UsageError, defineCommand, parseSeconds } from './command.ts'
import { findEndpoint } from './endpoint-option.ts'
import { listenForCallback } from './loopback-callback.ts'

/** The redirect URI, unless BASE_URL is on this machine. */
const REDIRECT_URI = 'http://127.0.0.1:53217/callback'

export const command = defineCommand({
  description: [
    'Checks the settings, the OpenID provider, Redis, the public URL, and tools, prompts and resources. For each ' +
    'problem it says what was asked, what came back, what that means, and the setting to change. Run it before the ' +
    'first start, where the server will run. Nobody signs in: the provider gets requests with made-up codes and ' +
    'tokens. No secret is printed.',
    '--sign-in lets a person sign in once, and checks what only a sign-in shows: refresh token, ID token, userinfo, ' +
    'groups, access rules, audience, logout. Run it on the machine where the browser is. The provider must know ' +
    `BASE_URL/oauth/callback if BASE_URL is on this machine (stop the server first), otherwise ${REDIRECT_URI}`,
    'The exit code is 0 if nothing is wrong, 1 if there are warnings, and 2 if it would not work.'
  ],
  examples: [
    ['seed doctor', 'Before the first start, and whenever something does not work'],
    ['seed doctor --sign-in', 'With a person at the browser'],
    ['seed doctor --sign-in --endpoint sales', 'May this person use the MCP endpoint /mcp/sales?'],
    ['seed doctor --json', 'For scripts']
  ],

  declare: (parser) => parser
    .option('--json', 'print the findings as JSON', false)
    .option('--sign-in', 'let a person sign in once', false)
    .option('--endpoint <name>', 'with --sign-in: the MCP endpoint of SEED_ENDPOINTS whose access rules are judged, ' +
      'by its name or path; /mcp by default')
    .option('--timeout <seconds>', 'how long to wait for the sign-in', parseSeconds, 300),

  async run ({ json, signIn, endpoint: name, timeout }, { inspectConfig, loadOffers, print, printError }) {
    if (name !== undefined && !signIn) throw new UsageError('--endpoint belongs to --sign-in')
    const inspection = await inspectConfig()
    const endpoint = findEndpoint(name, inspection.config.endpoints)
    const findings = await examine({ inspection, loadOffers })
    const signedIn = signIn
      ? await letSignIn(inspection.config, endpoint, timeout, printError)
      : { findings: [], secrets: [] }
    const secrets = [...inspection.secrets, ...signedIn.secrets]
    const report = createReport([...findings, ...signedIn.findings], secrets)
    print(json ? JSON.stringify(report, null, 2) : printReport(report))
    return exitCodeOf(report)
  }
})

/** Shows the address to open, waits for the browser to come back, and judges the sign-in. */
async function letSignIn (
  config: Config, endpoint: Endpoint, timeoutSeconds: number, printError: (text: string) => void
): Promise<SignInResult> {
  const { metadata } = config.oidc.issuer === '' ? { metadata: undefined } : await checkDiscovery(config)
  const { protocol, hostname } = new URL(config.baseUrl)
  const isLocal = protocol === 'http:' && isLoopbackHost(hostname)
  const redirectUri = isLocal ? `${config.baseUrl}/oauth/callback` : REDIRECT_URI
  const about = question('sign-in.browser', `a sign-in with redirect_uri=${redirectUri}`)
  if (metadata === undefined) {
    return { findings: [about.unknown('nothing', 'Nobody could sign in: the provider cannot be used')], secrets: [] }
  }
  try {
    const callback = await listenForCallback(new URL(redirectUri))
    try {
      const signIn = createSignIn({ ...config, endpoint }, metadata, redirectUri)
      const url = await signIn.begin()
      const answer = callback.receive(signIn.state, timeoutSeconds, (parameters) => parameters)
      printError('Open this address in a browser on this machine and sign in. If the provider refuses the redirect ' +
        `URI, register ${redirectUri} there:\n\n${url.href}\n`)
      return await signIn.judge(await answer)
    } finally {
      callback.close()
    }
  } catch (err) {
    const meaning = `Nobody has signed in. If the provider refused the redirect URI, register ${redirectUri} there`
    return { findings: [about.error((err as Error).message, meaning)], secrets: [] }
  }
}
