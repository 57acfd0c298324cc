import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { deserialize, serialize } from 'node:v8'
import { oauthProvider } from '@better-auth/oauth-provider'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { toNodeHandler } from 'better-auth/node'
import { jwt } from 'better-auth/plugins'

/**
 * An application that signs people in with better-auth, as OpenID provider. Its database is in memory, and a file keeps
 * it over a restart. Below `/control` is what an administrator would do in the database.
 */
const { PORT, DATABASE, SEED_URL, CLIENT_REDIRECT_URIS, PERSON } = process.env
const url = `http://localhost:${PORT}`
const person = JSON.parse(PERSON)

const isNew = !existsSync(DATABASE)
const database = isNew
  ? Object.fromEntries([
    'user', 'session', 'account', 'verification', 'jwks', 'oauthClient', 'oauthRefreshToken', 'oauthAccessToken',
    'oauthConsent', 'oauthResource', 'oauthClientResource', 'oauthClientAssertion'
  ].map((table) => [table, []]))
  : deserialize(readFileSync(DATABASE))
let groups = person.groups

const auth = betterAuth({
  baseURL: url,
  secret: 'a secret of the test, with more than 32 characters',
  database: memoryAdapter(database),
  emailAndPassword: { enabled: true },
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
  plugins: [
    jwt(),
    oauthProvider({
      loginPage: '/login',
      consentPage: '/consent',
      resources: [`${SEED_URL}/mcp`],
      enforcePerClientResources: false,
      customUserInfoClaims: () => ({ groups }),
      customAccessTokenClaims: ({ user }) => ({ name: user?.name, email: user?.email, groups })
    })
  ]
})
await auth.$context

if (isNew) {
  await auth.api.signUpEmail({ body: { name: person.name, email: person.email, password: person.password } })
  const user = database.user[0]
  user.emailVerified = true
}

const COMMON = {
  scope: 'openid profile email offline_access',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  // Of http, a web application may have no redirect URI, not even on loopback.
  application_type: 'native',
  skip_consent: true
}

const CONTROL = {
  'POST /control/clients': async () => {
    const signedIn = await auth.api.signInEmail({
      body: { email: person.email, password: person.password },
      asResponse: true
    })
    const headers = new Headers({ cookie: signedIn.headers.getSetCookie().map((line) => line.split(';')[0]).join('; ') })
    const create = async (metadata) =>
      await auth.api.adminCreateOAuthClient({ headers, body: { ...COMMON, ...metadata } })
    const redirectUri = `${SEED_URL}/oauth/callback`
    return {
      basic: await create({ redirect_uris: [redirectUri], token_endpoint_auth_method: 'client_secret_basic' }),
      post: await create({ redirect_uris: [redirectUri], token_endpoint_auth_method: 'client_secret_post' }),
      native: await create({
        redirect_uris: [redirectUri, ...JSON.parse(CLIENT_REDIRECT_URIS)],
        token_endpoint_auth_method: 'none'
      })
    }
  },
  'POST /control/revoke-refresh-tokens': async () => {
    const tokens = database.oauthRefreshToken.filter(({ revoked }) => !revoked)
    for (const token of tokens) token.revoked = new Date()
    return { revoked: tokens.length }
  },
  'POST /control/rotate-keys': async () => {
    // The newest key signs; the jwt plugin makes one when there is none. The former stays in the key set.
    const former = database.jwks.splice(0)
    await auth.api.signJWT({ body: { payload: { sub: 'nobody' } } })
    database.jwks.unshift(...former)
    return { keys: database.jwks.length }
  },
  'PUT /control/groups': async (body) => {
    groups = body
    return { groups }
  }
}

const FIELDS = {
  '/login': '<input name="login"><input name="password" type="password">',
  '/consent': '<button name="accept" value="true">Allow</button>'
}

/** The application's own pages: forms that come back with the authorization request in their query. */
async function showPage (request, response) {
  const { pathname, search } = new URL(request.url, url)
  if (request.method === 'GET') {
    const action = `${pathname}${search.replaceAll('&', '&amp;')}`
    response.setHeader('content-type', 'text/html')
    return response.end(`<form method="post" action="${action}">${FIELDS[pathname]}</form>`)
  }
  const form = new URLSearchParams(await textOf(request))
  const [path, body] = pathname === '/login'
    ? ['sign-in/email', { email: form.get('login'), password: form.get('password') }]
    : ['oauth2/consent', { accept: form.get('accept') === 'true' }]
  const answer = await auth.handler(new Request(`${url}/api/auth/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: url, cookie: request.headers.cookie ?? '' },
    body: JSON.stringify({ ...body, oauth_query: search.slice(1) })
  }))
  const { url: next } = await answer.json()
  if (next === undefined) return response.writeHead(401).end()
  response.writeHead(303, { location: next, 'set-cookie': answer.headers.getSetCookie() }).end()
}

async function textOf (request) {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

const handle = toNodeHandler(auth)
const server = createServer(async (request, response) => {
  const control = CONTROL[`${request.method} ${request.url}`]
  if (new URL(request.url, url).pathname in FIELDS) return await showPage(request, response)
  if (control === undefined) return await handle(request, response)
  const text = await textOf(request)
  try {
    response.end(JSON.stringify(await control(text === '' ? undefined : JSON.parse(text))))
  } catch (err) {
    response.writeHead(500).end(`${err.stack} ${err.message} ${JSON.stringify(err.body)}`)
  }
})
server.listen(Number(PORT), '127.0.0.1', () => { console.log(`better-auth listens at ${url}`) })
process.on('SIGTERM', () => {
  writeFileSync(DATABASE, serialize(database))
  process.exit(0)
})
