import { startDevProvider } from './provider.ts'
import type { DevProvider, EnterpriseRule } from './provider.ts'

/** Starts the development provider. @throws Error with a sentence for a person */
export async function startProvider (port: string): Promise<DevProvider> {
  return await startDevProvider({ port: Number(port) }).catch((err: NodeJS.ErrnoException) => {
    throw new Error(
      `The development provider cannot listen on port ${port} (${err.code}): ` +
        'stop what listens there, or set DEV_PROVIDER_PORT to another one'
    )
  })
}

/** The settings for a server on this machine, which others may override. */
export const DEFAULTS = {
  // No real client's metadata document is fetched for a server that only this machine can reach.
  CIMD_ENABLED: 'false',
  OIDC_SCOPES: 'openid profile email groups offline_access',
  // The MCP Inspector runs in a browser.
  CORS_EXTRA_ORIGINS: 'http://localhost:6274,http://127.0.0.1:6274'
}

/** The settings that make the development provider the server's. */
export function providerSettings ({ issuer, clientId }: DevProvider): { OIDC_ISSUER: string, OIDC_AUDIENCE: string } {
  return { OIDC_ISSUER: issuer, OIDC_AUDIENCE: clientId }
}

/** The rule by which the development provider lets the company's client reach this server for everybody. */
export function companyRule ({ baseUrl, resource }: { baseUrl: string, resource: string }): EnterpriseRule {
  return { client: 'company-app', audience: baseUrl, resource, clientIdThere: 'company-app-at-seed' }
}

const READY_PAUSE_MS = 25
const MAX_READY_ATTEMPTS = 400

/** Waits until people can sign in: a server that listens has yet to ask its provider. Ends after ten seconds anyway. */
export async function untilReady (baseUrl: string): Promise<void> {
  for (let attempt = 0; attempt < MAX_READY_ATTEMPTS; attempt++) {
    const status = await fetch(`${baseUrl}/health/ready`).then(async (response) => {
      return (await response.json() as { status?: string }).status
    }, () => undefined)
    // What cannot be reached from here, such as a BASE_URL of a tunnel, is not waited for.
    if (status === undefined || status === 'ready') return
    await new Promise((resolve) => { setTimeout(resolve, READY_PAUSE_MS) })
  }
}

/** Returns what a person needs next. `seed` is how they call the command. */
export function welcome (mcpUrl: string, { issuer, users }: DevProvider, seed: string): string {
  return `
  Seed is running.

    MCP endpoint   ${mcpUrl}
    Sign in as     ${users.map(({ login, password }) => `${login} (password ${password})`).join('  or  ')}
    Provider       ${issuer} (development only)

  Connect Claude Code:

    claude mcp add --transport http seed ${mcpUrl}

  then start claude, type /mcp, and choose "seed" to sign in. An access token for curl (docs/first-steps.md):

    TOKEN=$(${seed} token ${mcpUrl})

  Ctrl-C stops everything.
`
}
