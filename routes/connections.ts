import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ConnectionActivity } from '../src/connections/activity.ts'
import type { Cookies } from '../src/http/cookies.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { checkFormToken, checkOrigin, checkSite, formToken } from '../src/oauth/endpoints/connections.ts'
import type { ConnectionsPageServices } from '../src/oauth/modes/broker/connections-page.ts'
import { SESSION_COOKIE } from '../src/oauth/modes/broker/connections-session.ts'
import type { ConnectionsSession } from '../src/oauth/modes/broker/connections-session.ts'
import { describeEnded } from '../src/oauth/modes/broker/grant-revocation.ts'
import { surplusSignInCookies } from '../src/oauth/modes/sign-in.ts'
import { describeScope } from '../src/oauth/protocol/scope.ts'
import {
  isConnectionsNotice, renderConnectionsPage, renderConnectionsSignInPage, renderReauthenticationPage
} from '../src/pages/connections.ts'
import type { ConnectionsNotice, ConnectionsPaths, ShownConnection } from '../src/pages/connections.ts'
import { CONNECTIONS_PAGE_HEADERS, CONNECTIONS_SIGN_IN_PAGE_HEADERS } from '../src/pages/layout.ts'
import {
  ConnectionsBodySchema, ConnectionsHeadersSchema, ConnectionsResponses, ConnectionsSignInBodySchema,
  EndConnectionBodySchema
} from '../src/schemas/connections.ts'

export interface ConnectionsRouteOptions {
  connections: ConnectionsPageServices
  activity: ConnectionActivity
  cookies: Cookies
  /** Counts a request of a person. @throws LimitError */
  limitPerson: LimitByKey
  server: { baseUrl: string, basePath: string, title: string | undefined, accessTokenSeconds: number }
}

/** The session of a request, and its cookie. */
interface SignedIn {
  session: ConnectionsSession
  cookie: string
}

export const CONNECTIONS_PATH = '/connections'

/** Routes, below CONNECTIONS_PATH. */
const FORMS = { signIn: '/sign-in', signOut: '/sign-out', end: '/end', endAll: '/end-all' }

/** Says on the next page what was done. */
const NOTICE_COOKIE = 'connections-notice'

/**
 * /connections, in a scope of browser pages (src/http/browser-scope.ts): GET shows and changes nothing; each form is
 * posted to a path of its own, and leads back.
 */
const connectionsRoutes: FastifyPluginAsyncTypebox<ConnectionsRouteOptions> = async (app, options) => {
  const { connections, activity, cookies, limitPerson, server } = options
  const name = server.title ?? server.baseUrl.replace(/^https?:\/\//, '')
  const paths = formPaths(server.basePath)
  const config = { auth: 'public' } as const
  const page = { config, schema: { headers: ConnectionsHeadersSchema, response: ConnectionsResponses } }
  const form = { ...page, bodyLimit: 1_024 }

  for (const path of Object.values(FORMS)) {
    rejectOtherMethods(app, ['POST'], path)
  }
  rejectOtherMethods(app, ['GET'])

  app.addHook('preValidation', async ({ method, headers }) => {
    if (method !== 'POST') return
    checkSite(headers['sec-fetch-site'] as string | undefined)
    checkOrigin(headers.origin, server.baseUrl)
  })

  /** @throws LimitError, StoreUnavailableError */
  async function findSession (request: FastifyRequest): Promise<SignedIn | undefined> {
    const cookie = cookies.read(request).get(SESSION_COOKIE)
    const session = await connections.sessions.find(cookie)
    if (session === undefined) return undefined
    const { subject } = session.person
    request.logFields = { subject }
    await limitPerson(request, subject)
    return { session, cookie: cookie! }
  }

  /** Finds the session that a form belongs to. @throws OAuthError for a form that is not of this session */
  async function findFormSession (request: FastifyRequest, token: string): Promise<SignedIn | undefined> {
    const signedIn = await findSession(request)
    if (signedIn !== undefined) checkFormToken(token, signedIn.cookie)
    return signedIn
  }

  function backToPage (reply: FastifyReply, notice: ConnectionsNotice): FastifyReply {
    cookies.set(reply, { name: NOTICE_COOKIE, value: notice, maxAgeSeconds: 60 })
    return reply.redirect(paths.page, 303)
  }

  app.get('', page, async (request, reply) => {
    const notice = cookies.read(request).get(NOTICE_COOKIE)
    if (notice !== undefined) cookies.clear(reply, NOTICE_COOKIE)
    const shownNotice = isConnectionsNotice(notice) ? notice : undefined
    const common = { server: name, notice: shownNotice, paths, reference: request.id }
    const signedIn = await findSession(request)
    if (signedIn === undefined) {
      return reply.headers(CONNECTIONS_SIGN_IN_PAGE_HEADERS).send(renderConnectionsSignInPage(common))
    }
    const { session: { person }, cookie } = signedIn
    const { shown, isComplete } = await connections.list(signedIn.session)
    const active = await activity.describe(shown)
    return reply.headers(CONNECTIONS_PAGE_HEADERS).send(renderConnectionsPage({
      ...common,
      person: person.name ?? shown[0]?.name ?? person.subject,
      connections: active.map(toShown).sort((one, other) => other.lastUsed - one.lastUsed),
      isComplete,
      streams: active[0]?.streams ?? 0,
      accessTokenSeconds: server.accessTokenSeconds,
      formToken: formToken(cookie)
    }))
  })

  app.post(FORMS.signIn, { ...form, schema: { ...form.schema, body: ConnectionsSignInBodySchema } }, async (
    request, reply
  ) => {
    const step = request.traceStep!
    step.name = 'connections sign-in'
    const { again } = request.body
    const { location, cookie } = await connections.signIn.start({
      ip: request.ip, reference: step.reference, reauthenticates: again !== undefined
    })
    step.outcome = 'The browser was sent to the provider'
    request.logFields = { signIn: step.reference }
    for (const name of surplusSignInCookies(cookies.read(request).keys())) cookies.clear(reply, name)
    cookies.set(reply, cookie)
    return reply.redirect(location.href, 303)
  })

  app.post(FORMS.signOut, { ...form, schema: { ...form.schema, body: ConnectionsBodySchema } }, async (
    request, reply
  ) => {
    const signedIn = await findFormSession(request, request.body.token)
    if (signedIn !== undefined) await connections.sessions.end(signedIn.cookie)
    cookies.clear(reply, SESSION_COOKIE)
    return backToPage(reply, 'signed-out')
  })

  app.post(FORMS.end, { ...form, schema: { ...form.schema, body: EndConnectionBodySchema } }, async (
    request, reply
  ) => {
    const { token, connection } = request.body
    const signedIn = await findFormSession(request, token)
    if (signedIn === undefined) return backToPage(reply, 'expired')
    const { session } = signedIn
    if (connections.sessions.isOld(session)) return askToSignInAgain(request, reply, paths)
    const ended = await connections.end(session, connection)
    if (ended === undefined) return backToPage(reply, 'gone')
    const { id: grant, clientId: client, clientKind: kind } = ended
    request.logFields = { ...request.logFields, grant, client }
    recordRevocation(request, server.baseUrl, session, { grant, client, kind, reason: 'ended by the person' })
    return backToPage(reply, 'ended')
  })

  app.post(FORMS.endAll, { ...form, schema: { ...form.schema, body: ConnectionsBodySchema } }, async (
    request, reply
  ) => {
    const signedIn = await findFormSession(request, request.body.token)
    if (signedIn === undefined) return backToPage(reply, 'expired')
    const { session, cookie } = signedIn
    if (connections.sessions.isOld(session)) return askToSignInAgain(request, reply, paths)
    const count = await connections.endAll(session)
    request.logFields = { ...request.logFields, revoked: count }
    recordRevocation(request, server.baseUrl, session, { reason: `ended by the person: ${describeEnded(count)}` })
    // Everything of the person that is older has been revoked, this session too.
    cookies.set(reply, await connections.sessions.renew(session, cookie))
    return backToPage(reply, 'ended-all')
  })
}

function askToSignInAgain (request: FastifyRequest, reply: FastifyReply, paths: ConnectionsPaths): FastifyReply {
  return reply.headers(CONNECTIONS_SIGN_IN_PAGE_HEADERS).send(
    renderReauthenticationPage({ paths, reference: request.id }))
}

function recordRevocation (
  request: FastifyRequest, issuer: string, { person: { subject } }: ConnectionsSession,
  more: Partial<NonNullable<FastifyRequest['auditEntry']>>
): void {
  request.auditEntry = { event: 'revocation', issuer, subject, ...more }
}

function toShown (
  { name, email, streams, ...connection }: Awaited<ReturnType<ConnectionActivity['describe']>>[number]
): ShownConnection {
  const scopes = connection.scopes.map((name) => ({ name, description: describeScope(name) }))
  return { ...connection, scopes }
}

/** Returns the paths of the page and its forms, as the browser knows them. */
function formPaths (basePath: string): ConnectionsPaths {
  const page = `${basePath}${CONNECTIONS_PATH}`
  const { signIn, signOut, end, endAll } = FORMS
  return { page, signIn: page + signIn, signOut: page + signOut, end: page + end, endAll: page + endAll }
}

export default connectionsRoutes
