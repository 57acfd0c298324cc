import { createHash } from 'node:crypto'
import { decodeJwt } from 'jose'
import type { JWTPayload } from 'jose'
import type { Config } from '../config/config.ts'
import { hasAccessRules } from '../config/endpoints.ts'
import type { Endpoint } from '../config/endpoints.ts'
import type { HttpError } from '../errors/http-error.ts'
import { fetchJson } from '../net/fetch.ts'
import { createProviderContact } from '../provider/contact.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { verifyIdToken, verifyUserinfo } from '../provider/id-token.ts'
import { createKeySet } from '../provider/key-set.ts'
import { createTokenClient } from '../provider/token-client.ts'
import type { TokenClient } from '../provider/token-client.ts'
import type { UpstreamTokens } from '../provider/token-response.ts'
import { checkAccess, endpointRules } from '../tokens/access-rules.ts'
import type { AccessRules } from '../tokens/access-rules.ts'
import { createVerifier } from '../tokens/access-token-verifier.ts'
import { claimAt, readGroups } from '../tokens/principal.ts'
import { question } from './finding.ts'
import type { Finding, Question } from './finding.ts'
import { madeUp } from './token-endpoint.ts'

export interface SignInResult {
  findings: Finding[]
  /** Tokens, which must not be printed. */
  secrets: string[]
}

/** The settings, and the MCP endpoint whose access rules are judged. */
export type SignInConfig = Config & { endpoint: Endpoint }

export type DiagnosticSignIn = ReturnType<typeof createSignIn>

/** A sign-in of a person with Seed's client, for what only a sign-in shows. Its tokens are revoked at the end. */
export function createSignIn (config: SignInConfig, metadata: ProviderMetadata, redirectUri: string) {
  const { oidc } = config
  const [state, nonce, verifier] = [madeUp(), madeUp(), madeUp()]
  // Findings say it.
  const ignore = (): void => {}
  const log = { info: ignore, warn: ignore, error: ignore }
  const client = createTokenClient({
    ...oidc, provider: () => metadata, contact: createProviderContact(), log
  })
  const about = question('sign-in.code', `a sign-in with redirect_uri=${redirectUri}`)

  return {
    state,
    /** Returns the URL to open in a browser. @throws OAuthError */
    async begin (): Promise<URL> {
      return await client.signInUrl({
        redirect_uri: redirectUri,
        state,
        nonce,
        code_challenge: createHash('sha256').update(verifier).digest('base64url')
      }, oidc.scopes)
    },

    /** Redeems the code of the provider's answer, and judges everything that comes back. */
    async judge (parameters: URLSearchParams): Promise<SignInResult> {
      try {
        const result = client.readCallback(Object.fromEntries(parameters))
        if ('error' in result) throw result.error
        const tokens = await client.requestTokens('authorization_code', {
          code: result.code, redirect_uri: redirectUri, code_verifier: verifier
        })
        const findings = [
          about.ok('tokens', 'The provider gave tokens for the code'),
          ...config.oauth.mode === 'proxy'
            ? await judgeAccessToken(config, metadata, tokens)
            : [...await judgeIdentity(config, metadata, { client, tokens, nonce }), describeAccessToken(tokens)],
          ...await judgeRefresh(client, tokens)
        ]
        const { accessToken, refreshToken = '', idToken = '' } = tokens
        return { findings, secrets: [accessToken, refreshToken, idToken] }
      } catch (err) {
        return { findings: [about.error(reasonOf(err), 'Nobody can sign in')], secrets: [] }
      }
    }
  }
}

/** The detail is for the operator, and has no secret. */
function reasonOf (err: unknown): string {
  const { detail, message } = err as HttpError
  return detail ?? message
}

interface SignedIn {
  client: TokenClient
  tokens: UpstreamTokens
  nonce: string
}

/** The ID token, userinfo, groups and access rules, as broker mode reads them. */
async function judgeIdentity (
  config: SignInConfig, { jwksUri }: ProviderMetadata, { client, tokens, nonce }: SignedIn
): Promise<Finding[]> {
  const about = question('sign-in.id-token', 'the token response')
  const { oidc, token: { clockSkewSeconds } } = config
  if (tokens.idToken === undefined) {
    return [about.error('no ID token', 'Nobody can sign in in broker mode: openid must be among the scopes that the ' +
      'client may ask for', { setting: 'OIDC_SCOPES' })]
  }
  const { getKey } = createKeySet(await fetchJson(jwksUri))
  const options = { ...oidc, clockSkewSeconds, getKey }
  try {
    const { aud, amr, ...claims } = await verifyIdToken(tokens.idToken, options, { nonce })
    const { finding, more } = await readUserinfo(client, tokens, claims.sub!, async (signed) =>
      await verifyUserinfo(signed, options))
    const all = { ...more, ...claims }
    return [
      about.ok('an ID token', 'The ID token is valid'),
      ...finding,
      judgeGroups(config, all),
      ...judgeAccess(config, all)
    ]
  } catch (err) {
    return [about.error(reasonOf(err), 'The ID token is refused, so nobody can sign in in broker mode',
      { setting: 'OIDC_ALGORITHMS' })]
  }
}

async function readUserinfo (
  client: TokenClient,
  { accessToken }: UpstreamTokens,
  subject: string,
  verify: (token: string) => Promise<Record<string, unknown>>
): Promise<{ finding: Finding[], more: Record<string, unknown> }> {
  const about = question('sign-in.userinfo', 'the userinfo endpoint, with the access token')
  try {
    const more = await client.userinfo(accessToken, subject, verify)
    if (more === undefined) {
      return { finding: [about.ok('no such endpoint', 'All claims come from the ID token')], more: {} }
    }
    return { finding: [about.ok(Object.keys(more).join(', '), 'Userinfo can be used')], more }
  } catch (err) {
    const meaning = 'Userinfo cannot be used: only the claims of the ID token are known'
    return { finding: [about.warning(reasonOf(err), meaning)], more: {} }
  }
}

/** Groups are in the claim of OIDC_GROUPS_CLAIM; otherwise lists of strings are candidates for it. */
function judgeGroups ({ oidc, access, endpoint }: SignInConfig, claims: Record<string, unknown>): Finding {
  const about = question('sign-in.groups', `the claim ${oidc.groupsClaim} (OIDC_GROUPS_CLAIM)`)
  const groups = readGroups(claims, { groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths })
  if (groups.length > 0) return about.ok(groups.join(', '), `The person's groups are ${groups.join(', ')}`)
  const value = [...Object.keys(claims), 'realm_access.roles'].find((name) => Array.isArray(claimAt(claims, name)))
  const remedy = { setting: 'OIDC_GROUPS_CLAIM', value }
  const rules = [
    ...(access.groups.length > 0 ? ['ACCESS_GROUPS'] : []),
    ...(endpoint.access.groups.length > 0 ? [`access.groups of ${endpoint.path} (SEED_ENDPOINTS)`] : [])
  ].join(' and ')
  return rules !== ''
    ? about.error('no groups', `${rules} would refuse everybody like this person`, remedy)
    : about.unknown('no groups', 'The person is in no group, or the provider does not send groups', remedy)
}

/** The ACCESS_ settings, and the rules that the endpoint has besides. */
function judgeAccess ({ access, oidc, endpoint }: SignInConfig, claims: Record<string, unknown>): Finding[] {
  const general = { ...access, groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths }
  const judge = (about: Question, place: string, rules: AccessRules): Finding => {
    try {
      checkAccess(claims, rules)
      return about.ok('allowed', `This person may use ${place}`)
    } catch (err) {
      return about.warning(reasonOf(err), `This person may not use ${place}: right, if that is meant`)
    }
  }
  const finding = judge(question('sign-in.access', 'the ACCESS_ settings'), 'the server', general)
  if (!hasAccessRules(endpoint)) return [finding]
  const about = question('sign-in.endpoint-access', `access of ${endpoint.path} (SEED_ENDPOINTS)`)
  return [finding, judge(about, endpoint.path, endpointRules(endpoint, general))]
}

/** In broker mode only Seed sees the provider's access token. */
function describeAccessToken ({ accessToken }: UpstreamTokens): Finding {
  return question('sign-in.access-token', 'the token response').ok(
    decode(accessToken) === undefined ? 'opaque' : 'a JWT', 'Seed keeps the access token to itself in broker mode')
}

/**
 * In proxy mode clients send the provider's access token to /mcp: it is verified as the server does, and its claims
 * alone say who the person is.
 */
async function judgeAccessToken (
  config: SignInConfig, { jwksUri }: ProviderMetadata, { accessToken }: UpstreamTokens
): Promise<Finding[]> {
  const { oidc, token } = config
  const about = question('sign-in.access-token', 'the token response')
  const claims = decode(accessToken)
  if (claims === undefined) {
    return [about.error('an opaque access token', 'Proxy mode needs JWTs: use broker mode, or configure an API at ' +
      'the provider and name it in OIDC_RESOURCE', { setting: 'OAUTH_MODE', value: 'broker' })]
  }
  const audiences = [claims.aud ?? []].flat()
  if (!audiences.includes(oidc.audience)) {
    const meaning = `OIDC_AUDIENCE is "${oidc.audience}", so every token is refused`
    return [about.error(`aud is ${JSON.stringify(claims.aud)}`, meaning,
      { setting: 'OIDC_AUDIENCE', value: audiences[0] })]
  }
  try {
    const { getKey } = createKeySet(await fetchJson(jwksUri))
    const { preset: { accessTokenClaims, groupPaths } } = oidc
    const verifier = createVerifier({
      ...oidc,
      ...token,
      accessTokenClaims,
      groupPaths,
      getKey,
      audiences: [oidc.audience],
      resourceOf: () => config.resource
    })
    const { claims: verified } = await verifier.verify(accessToken)
    return [describeSid(verified, about), judgeGroups(config, verified), ...judgeAccess(config, verified)]
  } catch (err) {
    const reason = reasonOf(err)
    const [setting] = /OIDC_ALGORITHMS|TOKEN_MAX_LIFETIME_SECONDS/.exec(reason) ?? []
    return [about.error(reason, 'Every such token is refused, so nobody can sign in in proxy mode', { setting })]
  }
}

function describeSid (claims: Readonly<Record<string, unknown>>, about: Question): Finding {
  return claims['sid'] === undefined
    ? about.ok('a JWT without sid', 'The access token is for this server. It has no sid: a back-channel logout must ' +
      'name the subject to end it')
    : about.ok('a JWT', 'The access token is for this server')
}

function decode (token: string): JWTPayload | undefined {
  try {
    return decodeJwt(token)
  } catch {
    return undefined
  }
}

/** Refreshes once, and revokes what it has: nothing of the sign-in is left at the provider. */
async function judgeRefresh (client: TokenClient, { refreshToken }: UpstreamTokens): Promise<Finding[]> {
  const about = question('sign-in.refresh-token', 'the token response, and a refresh')
  if (refreshToken === undefined) {
    return [about.warning('no refresh token', 'People sign in again when the access token ends, in broker mode after ' +
      'GRANT_MAX_AGE_UNCHECKED: allow the client offline_access or refresh_token', { setting: 'OIDC_SCOPES' })]
  }
  try {
    const parameters = { refresh_token: refreshToken }
    const { refreshToken: latest = refreshToken } = await client.requestTokens('refresh_token', parameters)
    return [
      about.ok(latest === refreshToken ? 'no other one' : 'another one', 'The refresh token can be used'),
      await judgeLogout(client, latest)
    ]
  } catch (err) {
    return [about.error(reasonOf(err), 'The refresh token cannot be used: sign-ins end with their first access token')]
  }
}

async function judgeLogout (client: TokenClient, refreshToken: string): Promise<Finding> {
  const about = question('sign-in.logout', 'the revocation endpoint, with the refresh token')
  const isRevoked = await client.revoke(refreshToken, 'refresh_token').catch(() => false)
  return isRevoked
    ? about.ok('revoked', 'What ends here ends at the provider')
    : about.warning('not revoked', 'What ends here lives on at the provider', { setting: 'OAUTH_REVOCATION_URL' })
}
