import type { Config } from '../config/config.ts'
import { createKeyring } from '../crypto/keyring.ts'
import { ToolError } from '../define/tool.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import { fetchJson } from '../net/fetch.ts'
import { createProviderContact } from '../provider/contact.ts'
import type { Delegation } from '../provider/delegation.ts'
import { fetchMetadata } from '../provider/discovery.ts'
import { createTokenClient } from '../provider/token-client.ts'
import type { TokenClient, TokenClientOptions } from '../provider/token-client.ts'
import { createCallerAssertions } from '../tokens/caller-assertion.ts'
import { createSigningKeys } from '../tokens/signing-keys.ts'
import type { IdentityServices } from './caller/caller-identity.ts'

type ClientLog = TokenClientOptions['log']

/** Limit of the request for the discovery document. */
const DISCOVERY_MS = 5_000

/**
 * Returns what says to mounted servers who asks, for one run of a command. It asks for lists alone, as Seed itself:
 * with an assertion, or with a token of the provider, where `allowServerToken` wants one. Nothing is stored.
 */
export function createCommandIdentity (
  { secrets, baseUrl, oidc }: Pick<Config, 'secrets' | 'baseUrl' | 'oidc'>, log: ClientLog
): IdentityServices {
  const signingKeys = createSigningKeys(createKeyring(secrets.current, secrets.previous))
  const tokens = new Map<string, Promise<string>>()
  let client: Promise<TokenClient> | undefined

  return {
    issueAssertion: createCallerAssertions({ signingKeys, issuer: baseUrl }),

    async tokenFor () {
      throw new ToolError('a command has no caller whose token could be exchanged')
    },

    async serverTokenFor ({ audience, resource, scopes = [] }) {
      const delegation = { audience, ...(resource !== undefined && { resource }), scopes }
      client ??= openTokenClient(oidc, log)
      const key = JSON.stringify(delegation)
      const token = tokens.get(key) ?? requestToken(client, delegation)
      tokens.set(key, token)
      return await token
    }
  }
}

async function openTokenClient (oidc: Config['oidc'], log: ClientLog): Promise<TokenClient> {
  const metadata = await fetchMetadata({
    ...oidc, fetchJson: async (url) => await fetchJson(url, { timeoutMs: DISCOVERY_MS })
  })
  return createTokenClient({ ...oidc, provider: () => metadata, contact: createProviderContact(), log })
}

/** @throws ToolError that says what the provider must allow, or why it cannot be asked */
async function requestToken (client: Promise<TokenClient>, delegation: Delegation): Promise<string> {
  try {
    return (await (await client).delegate(undefined, delegation)).accessToken
  } catch (err) {
    const { message } = err as Error
    throw new ToolError(err instanceof OAuthError
      ? `the identity provider gave no token for "${delegation.audience}" (${String(err.detail)})`
      : `the identity provider cannot be used (${message})`, { cause: err })
  }
}
