import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { checkTrustedIssuers, readTrustedIssuers } from '../../src/config/trusted-issuers.ts'
import type { IssuerSurroundings } from '../../src/config/trusted-issuers.ts'
import { GOOD, loadConfig, problemsOf } from '../support/config.ts'

const BASE_URL = 'https://seed.example.com'
const SURROUNDINGS: IssuerSurroundings = {
  mode: 'broker', baseUrl: BASE_URL, provider: 'https://id.example.com', tenants: [], providerClientId: 'seed-at-provider', clientIds: ['nightly']
}
const jwk = (type: 'ec' | 'rsa', options: object, isPrivate = false) => {
  const pair = generateKeyPairSync(type as 'ec', options as { namedCurve: string })
  return (isPrivate ? pair.privateKey : pair.publicKey).export({ format: 'jwk' }) as { kty: string }
}
const KEY = jwk('ec', { namedCurve: 'P-256' })

const GITHUB = { repository_id: '74', environment: 'production' }
const PUSH = { repository_id: '74', event_name: 'push' }
const GITLAB = { project_id: 20, ref: 'main', ref_protected: true }
const POD = { sub: 'system:serviceaccount:reports:nightly' }
const JOB = { sub: 'spiffe://example.org/ns/reports/job' }

function problems (issuers: unknown, changes: Partial<IssuerSurroundings> = {}): string[] {
  return checkTrustedIssuers(JSON.stringify(issuers), { ...SURROUNDINGS, ...changes })
}

const withRule = (preset: string, match: object, more: object = {}, rule: object = {}) =>
  [{ preset, ...more, rules: [{ service: 'deploy', match, ...rule }] }]
const github = (match: object, rule: object = {}) => withRule('github-actions', match, {}, rule)
const gitlab = (match: object) => withRule('gitlab-ci', match)
const kubernetes = (match: object) => withRule('kubernetes', match, { issuer: 'https://k8s.example.com' })
const spiffe = (match: object, more: object = { trust_domain: 'example.org', jwks: { keys: [KEY] } }) =>
  withRule('spiffe', match, more)
const other = (match: object, more: object = {}) => [{
  issuer: 'https://ci.example.com', ...more, rules: [{ service: 'deploy', match }]
}]

t.test('without the setting no issuer is trusted', async (t) => {
  t.same(readTrustedIssuers(undefined, BASE_URL), [])
  t.same(checkTrustedIssuers(undefined, SURROUNDINGS), [])
  t.same(problems([]), [])
})

t.test('a preset knows the issuer and its algorithms, and tokens are for this server alone, once', async (t) => {
  t.same(readTrustedIssuers(JSON.stringify(github(GITHUB, {
    scope: 'tickets:read tickets:write', groups: ['ci'], claims: { department: 'it' }
  })), BASE_URL), [{
    name: 'https://token.actions.githubusercontent.com',
    issuer: 'https://token.actions.githubusercontent.com',
    trustDomain: undefined,
    preset: 'github-actions',
    jwksUri: undefined,
    jwks: undefined,
    algorithms: ['RS256'],
    audiences: [BASE_URL, `${BASE_URL}/`],
    singleUse: true,
    accessTokens: false,
    rules: [{
      service: 'deploy',
      match: [
        { claim: 'repository_id', values: ['74'], patterns: [] },
        { claim: 'environment', values: ['production'], patterns: [] }
      ],
      rights: { scopes: ['tickets:read', 'tickets:write'], claims: { department: 'it', groups: ['ci'] } }
    }]
  }])
  t.match(readTrustedIssuers(JSON.stringify(gitlab(GITLAB)), BASE_URL), [{
    issuer: 'https://gitlab.com',
    rules: [{ match: [{ values: ['20'] }, { values: ['main'] }, { values: ['true'] }] }]
  }], 'numbers and booleans are compared as texts')
  t.match(readTrustedIssuers(JSON.stringify(spiffe(JOB)), BASE_URL), [{
    name: 'example.org', issuer: undefined, trustDomain: 'example.org', jwks: { keys: [KEY] }
  }])
  t.match(readTrustedIssuers(JSON.stringify(other(POD, {
    audience: 'for-seed', algorithms: ['ES384'], single_use: false, jwks_uri: 'https://ci.example.com/keys'
  })), BASE_URL), [{
    preset: '', audiences: ['for-seed'], algorithms: ['ES384'], singleUse: false, jwksUri: 'https://ci.example.com/keys'
  }])
})

t.test('rules that pin enough are accepted', async (t) => {
  const sha = 'a'.repeat(40)
  for (const good of [
    github(GITHUB),
    github({ repository_id: 74, ref: ['refs/heads/main', { pattern: 'refs/tags/*' }], event_name: ['push', 'release'] }),
    github({ repository_id: 74, ref: 'refs/heads/main', environment: 'production' }),
    github({ repository_id: 74, ref: 'refs/heads/main', job_workflow_ref: `octo-org/ci/.github/workflows/d.yml@${sha}` }),
    github({ repository_id: ['74', '75'], job_workflow_ref: `octo-org/ci/.github/workflows/d.yml@${sha}` }),
    github({ repository_owner_id: '65', job_workflow_ref: 'octo-org/ci/.github/workflows/d.yml@refs/tags/v1' }),
    github({ repository_owner_id: '65', repository: { pattern: 'octo-org/*' }, environment: 'production' }),
    gitlab(GITLAB),
    gitlab({ project_id: '20', environment: 'production', environment_protected: 'true' }),
    kubernetes(POD),
    spiffe(JOB),
    spiffe(JOB, { trust_domain: 'example.org', issuer: 'https://oidc.example.org' }),
    other({ azp: 'app', roles: 'tools' }),
    [...github(GITHUB), ...gitlab(GITLAB), ...kubernetes(POD), ...spiffe(JOB), ...other(POD)]
  ]) t.same(problems(good), [], JSON.stringify(good))
})

t.test('a rule that pins too little prevents the start, with the reason and what to add', async (t) => {
  for (const [bad, reason] of [
    [github({ repository: 'octo-org/octo-repo', ref: 'refs/heads/main' }), /must pin repository_id .* a name alone can be registered by somebody else/],
    [github({ sub: 'repo:octo-org/octo-repo:environment:production' }), /must pin repository_id .*must pin ref, environment or job_workflow_ref/],
    [github({ repository_id: 'octo-repo', environment: 'production' }), /must pin repository_id .*as numbers/],
    [github({ repository_id: { pattern: '7/*' }, environment: 'production' }), /must pin repository_id/],
    [github({ repository_owner_id: '65', environment: 'production' }), /must pin repository_id \(or repository_owner_id with repository or job_workflow_ref\)/],
    [github({ repository_id: '74' }), /must pin ref, environment or job_workflow_ref. The token of a pull request/],
    [github({ repository_id: '74', ref: 'main' }), /has a ref that does not begin with refs\/heads\//],
    [github({ repository_id: '74', ref: ['refs/heads/main', 'refs/pull/1/merge'] }), /has a ref/],
    [github({ repository_id: '74', ref: { pattern: 'refs/*/main' } }), /has a ref/],
    [github({ repository_id: '74', job_workflow_ref: 'octo-org/ci/.github/workflows/d.yml' }), /job_workflow_ref that does not end with/],
    [github({ repository_id: '74', job_workflow_ref: 'o/ci/.github/workflows/d.yml@refs/pull/1/merge' }), /job_workflow_ref that does not end/],
    [gitlab({ project_path: 'my-group/my-project', ref: 'main', ref_protected: 'true' }), /must pin project_id, as a number/],
    [gitlab({ project_id: '20', ref: 'main' }), /must pin ref with ref_protected "true", or environment/],
    [gitlab({ project_id: '20', ref: 'main', ref_protected: 'false' }), /must pin ref with ref_protected/],
    [gitlab({ project_id: '20', environment: 'production' }), /environment with environment_protected "true"/],
    [kubernetes({ namespace: 'reports' }), /must pin sub as system:serviceaccount:NAMESPACE:NAME/],
    [kubernetes({ sub: { pattern: 'system:serviceaccount:reports:*' } }), /must pin sub as system:serviceaccount/],
    [kubernetes({ sub: 'system:serviceaccount:reports' }), /must pin sub/],
    [kubernetes({ sub: ['system:serviceaccount:reports:nightly', 'system:node:n'] }), /must pin sub/],
    [spiffe({ sub: { pattern: 'spiffe://example.org/*' } }), /must pin sub as a SPIFFE ID of its trust_domain/],
    [spiffe({ sub: 'spiffe://example.org' }), /must pin sub as a SPIFFE ID/],
    [spiffe({ sub: 'spiffe://example.org.evil.org/job' }), /must pin sub as a SPIFFE ID/],
    [spiffe({ sub: 'spiffe://example.org/a/../job' }), /must pin sub as a SPIFFE ID/],
    [spiffe({ sub: 'spiffe://example.org/a//job' }), /must pin sub as a SPIFFE ID/],
    [other({ department: 'it' }), /must pin who the token is for: one of sub, client_id/],
    [other({ sub: { pattern: 'apps/*' } }), /must pin who the token is for/],
    [[{ issuer: 'https://gitlab.com', rules: [{ service: 'deploy', match: { sub: 'x' } }] }], /must pin project_id/],
    [other({ sub: 'x' }, { issuer: 'https://gitlab.com/' }), /must pin project_id/],
    [other({ sub: 'x' }, { issuer: 'https://token.actions.githubusercontent.com/octo-corp' }), /must pin repository_id/],
    [github({ repository_id: '74', ref: 'refs/heads/main' }), /pins ref without environment or job_workflow_ref: it must also pin event_name, .* whoever opens a pull request starts it/],
    [github({ repository_id: '74', ref: 'refs/heads/main', event_name: ['push', 'pull_request_target'] }), /must also pin event_name/],
    [github({ repository_id: '74', ref: 'refs/heads/main', event_name: 'workflow_run' }), /must also pin event_name/],
    [github({ repository_id: '74', ref: 'refs/heads/main', event_name: { pattern: 'x/*' } }), /must also pin event_name/],
    [github({ repository_id: '74', ref: 'refs/heads/main', event_name: 'an_event_to_come' }), /must also pin event_name, to one or more of push, /]
  ] as const) t.match(problems(bad).join(' '), reason, JSON.stringify(bad))
})

t.test('a pattern may only stand for a whole part, and not for the first', async (t) => {
  for (const pattern of [
    'refs/tags/*', 'octo-org/*', 'a:*', 'octo-org/*/x', 'a/*/b/*', 'x@*', 'a/*@refs/heads/main'
  ]) {
    t.same(problems(github({ ...GITHUB, workflow_ref: { pattern } })), [], pattern)
  }
  for (const pattern of ['*', '*/main', 'refs/tags/v*', 'octo*', 'a/**', 'a/*b', 'a/b', 'a/*/*x']) {
    t.match(problems(github({ ...GITHUB, workflow_ref: { pattern } })), [/must be a whole part between/], pattern)
  }
})

t.test('two services whose tokens cannot be told apart prevent the start', async (t) => {
  const rules = (...all: Array<[string, object]>) => [{
    preset: 'github-actions', rules: all.map(([service, match]) => ({ service, match }))
  }]
  for (const ambiguous of [
    rules(['one', GITHUB], ['two', GITHUB]),
    rules(['one', GITHUB], ['two', { ...GITHUB, event_name: 'push' }]),
    rules(['two', { ...GITHUB, event_name: 'push' }], ['one', GITHUB]),
    rules(['one', GITHUB], ['two', { repository_id: ['73', '74'], environment: ['production', 'staging'] }]),
    rules(['one', { ...PUSH, ref: 'refs/tags/v1' }], ['two', { ...PUSH, ref: { pattern: 'refs/tags/*' } }])
  ]) {
    const found = problems(ambiguous)
    t.match(found, [/whose rules for "\w+" and "\w+" are ambiguous: every token that fits the first fits the second/])
    t.equal(found.length, 1)
  }
  for (const distinct of [
    rules(['one', GITHUB], ['two', { ...GITHUB, environment: 'staging' }]),
    rules(['one', GITHUB], ['one', { ...GITHUB, event_name: 'push' }]),
    rules(['one', { ...PUSH, ref: { pattern: 'refs/tags/*' } }], ['two', { ...PUSH, ref: { pattern: 'refs/heads/*' } }]),
    rules(['one', GITHUB], ['two', { ...PUSH, ref: 'refs/heads/main' }])
  ]) t.same(problems(distinct), [])
})

t.test('the issuer, its keys, its audience and the names of its services are checked', async (t) => {
  const trust = { trust_domain: 'example.org' }
  for (const [bad, reason] of [
    [{}, /must be a JSON array of issuers, each with rules: the value must be array/],
    [[{ rules: [] }], /\/0\/rules/],
    [[{ preset: 'jenkins', rules: [] }], /\/0/],
    [withRule('github', GITHUB), /\/0\/preset must be one of github-actions, gitlab-ci, kubernetes, spiffe$/],
    [other({ sub: { patern: 'x' } }), /\/0\/rules\/0\/match\/sub must be string, or boolean, or integer, or object with pattern, or array$/],
    [other({ ...POD, 'a\nb': null }), /\/match\/a\nb must be string, or boolean, or integer, or object, or array$/],
    [other({ ...POD, 'a\nb': {} }), /\/match\/a\nb must be .* or object with pattern, or array$/],
    [other({ ...POD, '': 'x' }), /\/0\/rules\/0\/match\/ is not a known member$/],
    [other({ ...POD, ['x'.repeat(257)]: 'x' }), /\/match\/x{257} is not a known member$/],
    [other({ sub: [] }), /\/match\/sub must be string, .* or object, or must not have fewer than 1 items$/],
    [other({ sub: '' }), /\/match\/sub must be boolean, .* or must not have fewer than 1 characters$/],
    [github({ ...GITHUB, big: 2 ** 60 }), /must be a JSON array of issuers/],
    [github({}), /must be a JSON array of issuers/],
    [[...github(GITHUB), ...github({ ...GITHUB, environment: 'x' })], /lists the issuer "https:\/\/token.actions.githubusercontent.com" twice/],
    [[{ rules: [{ service: 'deploy', match: POD }] }], /has an issuer "without a name" that needs issuer/],
    [other(POD, { issuer: 'http://ci.example.com' }), /must be an https URL/],
    [other(POD, { issuer: 'kubernetes/serviceaccount' }), /must be an https URL/],
    [other(POD, { issuer: 'https://user:pw@ci.example.com' }), /must be an https URL/],
    [other(POD, { issuer: 'https://ci.example.com?x=1' }), /must be an https URL/],
    [other(POD, { issuer: BASE_URL }), /that is this server itself/],
    [other(POD, { issuer: 'https://id.example.com' }), /that is OIDC_ISSUER: its tokens are those of people/],
    [withRule('spiffe', JOB, { issuer: 'https://spire.example.org' }), /that needs trust_domain/],
    [other(POD, trust), /with trust_domain, which the preset spiffe alone has/],
    [spiffe(JOB, trust), /that needs jwks_uri or jwks: without issuer there is no discovery document/],
    [other(POD, { jwks: { keys: [KEY] }, jwks_uri: 'https://ci.example.com/keys' }), /with jwks and jwks_uri/],
    [other(POD, { jwks_uri: 'http://ci.example.com/keys' }), /jwks_uri must be an https URL/],
    [other(POD, { jwks: { keys: [jwk('ec', { namedCurve: 'P-256' }, true)] } }), /has a private key/],
    [other(POD, { jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }), /has a private key/],
    [other(POD, { jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }] } }), /cannot verify signatures/],
    [other(POD, { jwks: { keys: [jwk('rsa', { modulusLength: 1024 })] } }), /cannot verify signatures/],
    [other(POD, { algorithms: ['HS256'] }), /must be a JSON array of issuers/],
    [other(POD, { algorithms: ['none'] }), /must be a JSON array of issuers/],
    [withRule('github-actions', GITHUB, { audience: 'https://github.com/octo-org' }), /with the audience "https:\/\/github.com\/octo-org", which tokens for other servers have too/],
    [other(POD, { audience: ['for-seed', 'https://kubernetes.default.svc.cluster.local'] }), /which tokens for other servers/],
    [other(POD, { audience: 'https://ci.example.com' }), /which tokens for other servers/],
    [[{ preset: 'github-actions', rules: [{ service: 'nightly', match: GITHUB }] }], /OAUTH_CLIENTS has a client of that id/],
    [[{ preset: 'github-actions', rules: [{ service: 'seed-x', match: GITHUB }] }], /ids of that form are for other clients/],
    [[{ preset: 'github-actions', rules: [{ service: 'https://x', match: GITHUB }] }], /ids of that form/],
    [github({ ...GITHUB, aud: 'x', exp: 1 }), /may not match aud, exp, which is checked anyway/],
    [github(GITHUB, { claims: { sub: 'admin', seed_principal_kind: 'person' } }), /claims that may not be sub, seed_principal_kind/],
    [github(GITHUB, { tools: ['x'] }), /is not a known member/]
  ] as const) t.match(problems(bad).join(' '), reason, JSON.stringify(bad))
  const entra = { provider: 'https://login.microsoftonline.com/organizations/v2.0', tenants: ['t1'] }
  const tenant = (id: string) => other(POD, { issuer: `https://login.microsoftonline.com/${id}/v2.0` })
  t.match(problems(tenant('t1'), entra), [/that is OIDC_ISSUER/], 'an issuer of OIDC_TENANTS')
  t.same(problems(tenant('t2'), entra), [])
  t.same(problems(tenant('t2'), { ...entra, provider: 'no URL' }), [], 'OIDC_ISSUER has a problem of its own')
  t.same(problems(other(POD), { provider: undefined }), [])
  t.match(problems(github(GITHUB), { mode: 'proxy' }), [/^needs OAUTH_MODE=broker/])
})

t.test('TRUSTED_ISSUERS is part of the configuration, and its problems prevent the start', async (t) => {
  const env = { ...GOOD, OAUTH_MODE: 'broker', BASE_URL: `${BASE_URL}/` }
  const config = await loadConfig({ ...env, TRUSTED_ISSUERS: JSON.stringify(github(GITHUB)) })
  t.match(config.oauth.trustedIssuers, [{ preset: 'github-actions', audiences: [BASE_URL, `${BASE_URL}/`] }])
  t.match(await problemsOf(t, { ...env, TRUSTED_ISSUERS: JSON.stringify(other(POD, { issuer: BASE_URL })) }),
    [/^TRUSTED_ISSUERS has an issuer "https:\/\/seed.example.com" that is this server itself/])
  t.match(await problemsOf(t, { ...GOOD, TRUSTED_ISSUERS: JSON.stringify(github(GITHUB)) }),
    [/^TRUSTED_ISSUERS needs OAUTH_MODE=broker/])
})

t.test('access tokens for /mcp: only with an audience that people\'s tokens have not, and of no platform', async (t) => {
  const entry = { access_tokens: true, audience: 'api://seed' }
  t.same(problems(other({ azp: 'agent' }, entry)), [])
  const [read] = readTrustedIssuers(JSON.stringify(other({ azp: 'agent' }, entry)), BASE_URL)
  t.match(read, { accessTokens: true, audiences: ['api://seed'] })
  t.match(readTrustedIssuers(JSON.stringify(other({ azp: 'agent' })), BASE_URL), [{ accessTokens: false }], 'off by default')
  for (const [about, issuers, problem] of [
    ['no audience', other({ azp: 'agent' }, { access_tokens: true }), /access_tokens, which needs audience/],
    ['OIDC_CLIENT_ID', other({ azp: 'agent' }, { ...entry, audience: ['x', 'seed-at-provider'] }), /ID tokens of people/],
    ['single_use', other({ azp: 'agent' }, { ...entry, single_use: false }), /used many times/],
    ['a platform', withRule('github-actions', GITHUB, entry), /which github-actions does not issue/],
    ['no client', other({ roles: 'Tickets.Read' }, entry), /must pin who the token is for/],
    ['a pattern of clients', other({ sub: { pattern: 'agents/*' } }, entry), /must pin who the token is for/],
    ['the server itself', other({ azp: 'agent' }, { ...entry, issuer: BASE_URL }), /this server itself/]
  ] as const) {
    t.match(problems(issuers), [problem], about)
  }
})

t.test('OIDC_ISSUER is trusted for access tokens of its services alone', async (t) => {
  const issuer = { issuer: 'https://id.example.com' }
  t.match(problems(other({ azp: 'agent' }, issuer)), [/is OIDC_ISSUER.*access_tokens allows those of its services/])
  t.same(problems(other({ azp: 'agent' }, { ...issuer, access_tokens: true, audience: 'api://seed' })), [])
})
