import { escapeHtml, isolateText, renderPage, sanitizeText, shortenText } from './layout.ts'

/** The page on which a person sees the applications that act in their name. */
export interface ConnectionsPage {
  /** The name of the server, or its host. */
  server: string
  /** The person's name, or their id at the provider. */
  person: string
  /** In the order in which they are shown. */
  connections: readonly ShownConnection[]
  /** Whether these are all connections of the person. */
  isComplete: boolean
  /** Streams that are open, of all applications of the person. */
  streams: number
  /** An access token of this many seconds may be used without a trace in the last use. */
  accessTokenSeconds: number
  /** The outcome of the last form. */
  notice: ConnectionsNotice | undefined
  paths: ConnectionsPaths
  /** Value of the hidden field `token` of each form. */
  formToken: string
  reference: string
}

/** An application that acts in the person's name. Its name and id are untrusted. */
export interface ShownConnection {
  /** Id of its grant. */
  grant: string
  clientId: string
  clientName: string | undefined
  clientKind: 'registered' | 'document' | 'configured' | 'unregistered'
  /** The URL of its MCP endpoint; undefined where the server has one alone. */
  resource: string | undefined
  /** Each scope with its description for people. */
  scopes: ReadonlyArray<{ name: string, description: string }>
  /** Seconds since the epoch. */
  since: number
  lastUsed: number
  expires: number
  /** Sessions that are open. */
  sessions: number
}

/** Paths that forms are posted to. */
export interface ConnectionsPaths {
  page: string
  signIn: string
  signOut: string
  end: string
  endAll: string
}

const NOTICES = {
  ended: 'The application has been cut off. It can no longer act in your name.',
  'ended-all': 'All applications have been cut off. None can act in your name any more.',
  gone: 'That application had been cut off before.',
  'signed-out': 'You are signed out here. You may still be signed in at your organisation.',
  expired: 'You have been signed out, as you were signed in for more than 15 minutes or have signed out elsewhere. ' +
    'Nothing was changed.'
} as const
export type ConnectionsNotice = keyof typeof NOTICES

export function isConnectionsNotice (text: string | undefined): text is ConnectionsNotice {
  return text !== undefined && Object.hasOwn(NOTICES, text)
}

export function renderConnectionsPage (page: ConnectionsPage): string {
  const { connections, isComplete } = page
  return renderPage('Applications that act in your name', [
    '<h1>Applications that act in your name</h1>',
    `<p class="soft">You are signed in to ${isolateText(page.server)} as ` +
      `<strong>${isolateText(page.person)}</strong>.</p>`,
    ...renderNotice(page.notice),
    connections.length === 0
      ? '<p>No application can act in your name here.</p>'
      : '<p>You have allowed these. One that you cut off stops at once, and comes back only if you allow it again.</p>',
    ...connections.map((connection, index) => renderConnection(connection, index, page)),
    ...(isComplete
      ? []
      : [`<p>These are ${connections.length} of them. <strong>Cut off all</strong> ends the others too.</p>`]),
    ...renderActivity(page),
    ...renderActions(page),
    renderReference(page.reference)
  ].join('\n'))
}

function renderConnection (connection: ShownConnection, index: number, page: ConnectionsPage): string {
  const { grant, resource, scopes, sessions } = connection
  const name = nameOf(connection)
  const open = sessions === 0 ? '' : ` ${count(sessions, 'session')} ${sessions === 1 ? 'is' : 'are'} open.`
  const abilities = scopes.length === 0
    ? ['<li>Use this server on your behalf</li>']
    : scopes.map((scope) =>
      `<li>${isolateText(scope.description)} <small><code>${isolateText(scope.name)}</code></small></li>`)
  return [
    `<section class="entry" aria-labelledby="application-${index}">`,
    `<h2 id="application-${index}"><bdi>${escapeHtml(name)}</bdi></h2>`,
    `<p class="soft">${describeOrigin(connection)}</p>`,
    ...(resource === undefined ? [] : [`<p>It can use <code>${escapeHtml(resource)}</code>:</p>`]),
    `<ul role="list">\n${abilities.join('\n')}\n</ul>`,
    `<p><small>Allowed ${renderTime(connection.since, DATE)}, last used ${renderTime(connection.lastUsed, TIME)} UTC.` +
      `${open} It must ask you again after ${renderTime(connection.expires, DATE)}.</small></p>`,
    renderForm(page.paths.end, { token: page.formToken, connection: grant }, 'Cut off', `Cut off ${name}`),
    '</section>'
  ].join('\n')
}

function nameOf ({ clientName, clientId }: ShownConnection): string {
  return shortenText(sanitizeText(clientName ?? '')) || shortenText(sanitizeText(clientId))
}

/** Returns HTML that says who confirms the application's name. */
function describeOrigin ({ clientKind, clientId, clientName }: ShownConnection): string {
  if (clientKind === 'configured') return 'The operator of this server has set up this application.'
  const unverified = 'It chose its name itself; nobody has verified it.'
  if (clientKind === 'document') {
    return `Published by <strong>${isolateText(new URL(clientId).host)}</strong>. ${unverified}`
  }
  const registration = clientKind === 'registered' ? '' : ' It is not registered with this server.'
  const id = clientName === undefined ? '' : ` Its id is <code>${isolateText(clientId)}</code>.`
  return `${unverified}${registration}${id}`
}

function renderActivity ({ connections, streams, accessTokenSeconds }: ConnectionsPage): string[] {
  if (connections.length === 0) return []
  const minutes = Math.ceil(accessTokenSeconds / 60)
  const open = streams === 0 ? '' : `Your applications have ${count(streams, 'stream')} open now. `
  return [`<p><small>${open}The last use may have been up to ${count(minutes, 'minute')} later than shown.</small></p>`]
}

function renderActions ({ connections, paths, formToken }: ConnectionsPage): string[] {
  return [
    '<div class="actions">',
    ...(connections.length === 0 ? [] : [renderForm(paths.endAll, { token: formToken }, 'Cut off all')]),
    renderForm(paths.signOut, { token: formToken }, 'Sign out'),
    '</div>'
  ]
}

/** The page before the sign-in. */
export interface ConnectionsSignInPage {
  server: string
  notice: ConnectionsNotice | undefined
  paths: ConnectionsPaths
  reference: string
}

export function renderConnectionsSignInPage ({ server, notice, paths, reference }: ConnectionsSignInPage): string {
  return renderPage('Applications that act in your name', [
    '<h1>Applications that act in your name</h1>',
    ...renderNotice(notice),
    `<p>See which applications you have allowed to use ${isolateText(server)} on your behalf, and cut off any of ` +
      'them.</p>',
    '<p>Sign in with your organisation first. You can do this even if you may no longer use the server itself.</p>',
    renderForm(paths.signIn, {}, 'Sign in', undefined, 'primary'),
    renderReference(reference)
  ].join('\n'))
}

/** The page that asks a person to prove anew who they are. */
export function renderReauthenticationPage (
  { paths, reference }: Pick<ConnectionsPage, 'paths' | 'reference'>
): string {
  return renderPage('Sign in again', [
    '<h1>Sign in again</h1>',
    '<p>You signed in a while ago. Before an application is cut off, your organisation must confirm that it is ' +
      'you.</p>',
    '<p>Nothing has been cut off yet.</p>',
    renderForm(paths.signIn, { again: 'yes' }, 'Sign in again', undefined, 'primary'),
    `<p><a href="${escapeHtml(paths.page)}">Back to your applications</a></p>`,
    renderReference(reference)
  ].join('\n'))
}

function renderNotice (notice: ConnectionsNotice | undefined): string[] {
  return notice === undefined ? [] : [`<p class="notice" role="status">${NOTICES[notice]}</p>`]
}

/** @param label text for screen readers, where the button's own does not say enough */
function renderForm (
  action: string, fields: Record<string, string>, text: string, label?: string, style?: 'primary'
): string {
  const hidden = Object.entries(fields).map(([name, value]) =>
    `<input type="hidden" name="${name}" value="${escapeHtml(value)}">`)
  const aria = label === undefined ? '' : ` aria-label="${escapeHtml(label)}"`
  return [
    `<form method="post" action="${escapeHtml(action)}" autocomplete="off">`,
    ...hidden,
    `<button class="button${style === undefined ? '' : ` ${style}`}" type="submit"${aria}>${text}</button>`,
    '</form>'
  ].join('\n')
}

function renderReference (reference: string): string {
  return `<p><small>Reference <code>${escapeHtml(reference)}</code></small></p>`
}

const DATE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeZone: 'UTC' })
const TIME = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' })

function renderTime (seconds: number, format: Intl.DateTimeFormat): string {
  const date = new Date(seconds * 1_000)
  return `<time datetime="${date.toISOString()}">${format.format(date)}</time>`
}

function count (number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
