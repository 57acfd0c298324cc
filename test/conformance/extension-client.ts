import { Client, ClientCredentialsProvider, CrossAppAccessProvider } from '@modelcontextprotocol/client'
import { PrivateKeyJwtProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { requestJwtAuthorizationGrant } from '@modelcontextprotocol/client'
import type { OAuthClientProvider, OAuthTokens } from '@modelcontextprotocol/client'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/**
 * The client of the conformance suite's scenarios for authorization extensions, by the SDK's own providers. The suite
 * starts it with the URL of a server as argument; MCP_CONFORMANCE_CONTEXT has the scenario and its credentials.
 * extensions.proof.ts starts it in the same way with the URL of Seed. It prints the answer of `whoami`, if it is there.
 */
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT']!) as { name: string } & Record<string, string>

/** SEP-1933: the token of the workload's platform is the assertion. The SDK has no provider of its own for it. */
function createWorkloadProvider (clientId: string, assertion: string): OAuthClientProvider {
  let tokens: OAuthTokens | undefined
  return {
    redirectUrl: undefined,
    clientMetadata: { redirect_uris: [], grant_types: [JWT_BEARER], token_endpoint_auth_method: 'none' },
    clientInformation: () => ({ client_id: clientId }),
    tokens: () => tokens,
    saveTokens (saved) { tokens = saved },
    prepareTokenRequest: (scope) => new URLSearchParams({
      grant_type: JWT_BEARER, assertion, ...(scope !== undefined && { scope })
    }),
    redirectToAuthorization () { throw new Error('A workload has no browser') },
    saveCodeVerifier () {},
    codeVerifier () { throw new Error('A workload has no authorization code') }
  }
}

const PROVIDERS: Record<string, () => OAuthClientProvider> = {
  'auth/client-credentials-basic': () => new ClientCredentialsProvider({
    clientId: context['client_id']!,
    clientSecret: context['client_secret']!
  }),

  'auth/client-credentials-jwt': () => new PrivateKeyJwtProvider({
    clientId: context['client_id']!,
    privateKey: context['private_key_pem']!,
    algorithm: context['signing_algorithm']!
  }),

  'auth/enterprise-managed-authorization': () => new CrossAppAccessProvider({
    clientId: context['client_id']!,
    clientSecret: context['client_secret']!,
    assertion: async ({ authorizationServerUrl, resourceUrl }) => (await requestJwtAuthorizationGrant({
      tokenEndpoint: context['idp_token_endpoint']!,
      audience: authorizationServerUrl,
      resource: resourceUrl,
      idToken: context['idp_id_token']!,
      clientId: context['idp_client_id']!,
      ...(context['idp_client_secret'] !== undefined && { clientSecret: context['idp_client_secret'] })
    })).jwtAuthGrant
  }),

  'auth/wif-jwt-bearer': () => createWorkloadProvider(context['client_id']!, context['valid_jwt']!)
}

const createProvider = PROVIDERS[context.name]
if (createProvider === undefined) throw new Error(`There is no client for the scenario ${context.name}`)
const modern = process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] === '2026-07-28'
const client = new Client({ name: 'conformance-client', version: '1' }, {
  versionNegotiation: { mode: modern ? { pin: '2026-07-28' } : 'legacy' }
})
const url = new URL(process.argv.at(-1)!)
await client.connect(new StreamableHTTPClientTransport(url, { authProvider: createProvider() }))
const { tools } = await client.listTools()
if (tools.some(({ name }) => name === 'whoami')) {
  const { structuredContent } = await client.callTool({ name: 'whoami', arguments: {} })
  process.stdout.write(JSON.stringify({ protocol: client.getNegotiatedProtocolVersion(), ...structuredContent! }))
}
await client.close()
