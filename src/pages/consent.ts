import { escapeHtml, isolateText, renderPage, sanitizeText, shortenText } from './layout.ts'

/** The question whether a client may use this server on a person's behalf. */
export interface ConsentPage {
  /** The client's own name; untrusted. */
  clientName: string
  /** The kind of client: only the name of a `configured` one is confirmed, by the operator. */
  clientKind: 'registered' | 'document' | 'configured' | 'unregistered'
  /** Host of the client's metadata document, for `document`. */
  documentHost?: string | undefined
  /**
   * The receiver of the authorization code: host and port, in ASCII (punycode), or scheme and authority where the
   * scheme is a private-use one. It stands out within the redirect URI, which is shown whole.
   */
  destination: string
  /** The rest of the redirect URI. */
  beforeDestination?: string | undefined
  afterDestination?: string | undefined
  /** `loopback`: a program on this computer; `app`: a desktop app with a private-use scheme; `web`: a web site. */
  destinationKind: 'web' | 'loopback' | 'app'
  /** Each scope with its description for people. */
  scopes: ReadonlyArray<{ name: string, description: string }>
  /** Whether the client gets a refresh token; shown in any case, also if `scopes` does not say so. */
  staysConnected: boolean
  /** Scopes that this server asks the provider for besides `scopes`; the client does not get them. */
  serverScopes: ReadonlyArray<{ name: string, description: string }>
  /** The MCP server: BASE_URL/mcp. */
  resource: string
  /** The name that the operator gave the server. */
  serverTitle?: string | undefined
  /** The path that the form is posted to. */
  action: string
  /** Path of the page on which the person can cut it off again, if there is one. */
  connectionsPath?: string | undefined
  /** Value of the hidden field `consent`. */
  consent: string
  /** Leads the operator to this sign-in. */
  reference: string
}

const DESTINATIONS: Record<ConsentPage['destinationKind'], string> = {
  web: 'This is a web site. Only allow this if you know it and trust it.',
  loopback: 'This is a program on this computer.',
  app: 'This is an app on this device. Any app can claim such an address.'
}

const WARNINGS: Record<ConsentPage['destinationKind'], string[]> = {
  web: [],
  loopback: ['Only allow this if you just started this sign-in on this computer yourself.'],
  app: ['Only allow this if you just started this sign-in yourself, in an app on this device.']
}

const INTERNATIONAL = 'An address on this page has an international name, shown here in its encoded form. ' +
  'Check that it is the one you expect.'

const SIGN_IN_NEXT = 'Next, you will sign in with your organisation.'
const DENY_ADVICE = 'If you did not start this, choose <strong>Deny</strong>.'

export function renderConsentPage (page: ConsentPage): string {
  const name = shortenText(sanitizeText(page.clientName)) || 'An application without a name'
  const server = serverAddress(page.resource)
  const warnings = [
    ...WARNINGS[page.destinationKind],
    ...([page.destination, page.documentHost ?? ''].some((host) => host.includes('xn--')) ? [INTERNATIONAL] : [])
  ]
  const parts = [
    renderQuestion(name, server),
    `<p class="soft">${trustNotice(page)}</p>`,
    '<section aria-labelledby="abilities">',
    '<h2 id="abilities">What it will be able to do</h2>',
    `<ul role="list">\n${renderAbilities(page)}\n</ul>`,
    ...renderServerScopes(page.serverScopes),
    `<p><small>On the server ${renderTitle(page.serverTitle)}<code>${escapeHtml(page.resource)}</code></small></p>`,
    '</section>',
    '<section aria-labelledby="destination">',
    '<h2 id="destination">Where you will be sent afterwards</h2>',
    `<p class="address"><code>${renderAddress(page)}</code></p>`,
    `<p>${DESTINATIONS[page.destinationKind]}</p>`,
    '</section>',
    ...warnings.map((warning) => `<p class="warning"><strong>${warning}</strong></p>`),
    `<p>${warnings.length > 0 ? SIGN_IN_NEXT : `${SIGN_IN_NEXT} ${DENY_ADVICE}`}</p>`,
    renderForm(page),
    ...renderConnectionsLink(page.connectionsPath),
    `<p><small>Reference <code>${escapeHtml(page.reference)}</code></small></p>`
  ]
  return renderPage(`Allow ${name} to use ${server}?`, parts.join('\n'))
}

/** Returns BASE_URL without its scheme. */
function serverAddress (resource: string): string {
  const { host, pathname } = new URL(resource)
  return `${host}${pathname.replace(/\/mcp$/, '')}`
}

function renderQuestion (name: string, address: string): string {
  const [client, server] = [escapeHtml(name), escapeHtml(address)]
  return `<h1><span>Allow</span> <bdi>${client}</bdi> <span>to use</span> <bdi>${server}</bdi><span>?</span></h1>`
}

/** Returns HTML that says who confirms the client's name. */
function trustNotice ({ clientKind, documentHost }: ConsentPage): string {
  if (clientKind === 'configured') return 'The operator of this server has set up this application.'
  const unverified = 'The application chose this name itself; nobody has verified it.'
  if (clientKind === 'unregistered') return `${unverified} It is not registered with this server.`
  if (clientKind === 'document' && documentHost !== undefined) {
    return `Published by <strong>${isolateText(documentHost)}</strong>. ${unverified}`
  }
  return unverified
}

function renderTitle (title: string | undefined): string {
  return title === undefined ? '' : `${isolateText(title)}, `
}

function renderAbilities ({ scopes, staysConnected }: ConsentPage): string {
  const items = scopes.length === 0 ? ['<li>Use this server on your behalf</li>'] : scopes.map(renderScope)
  const isSaid = scopes.some(({ name }) => name === 'offline_access')
  if (staysConnected && !isSaid) items.push('<li>Stay connected until you or your organisation end it</li>')
  return items.join('\n')
}

function renderScope ({ name, description }: { name: string, description: string }): string {
  return `<li>${isolateText(description)} <small><code>${isolateText(name)}</code></small></li>`
}

function renderServerScopes (scopes: ConsentPage['serverScopes']): string[] {
  if (scopes.length === 0) return []
  return [
    '<p>This server itself will also ask your organisation to let it:</p>',
    `<ul role="list">\n${scopes.map(renderScope).join('\n')}\n</ul>`
  ]
}

/** Returns the redirect URI as HTML, in which the part that decides who gets the code stands out. */
function renderAddress ({ beforeDestination = '', destination, afterDestination = '' }: ConsentPage): string {
  const [before, host, after] = [beforeDestination, destination, afterDestination].map(
    (text) => escapeHtml(sanitizeText(text)))
  return `<bdi>${before}<strong>${host}</strong>${after}</bdi>`
}

function renderConnectionsLink (path: string | undefined): string[] {
  if (path === undefined) return []
  return [`<p><small>You can <a href="${escapeHtml(path)}">cut it off again</a> at any time.</small></p>`]
}

/** Without autocomplete="off", some browsers restore the value of an earlier page into the field. */
function renderForm ({ action, consent }: ConsentPage): string {
  return [
    `<form method="post" action="${escapeHtml(action)}" autocomplete="off">`,
    `<input type="hidden" name="consent" value="${escapeHtml(consent)}">`,
    '<div class="actions">',
    '<button class="button primary" type="submit" name="decision" value="approve">Allow</button>',
    '<button class="button" type="submit" name="decision" value="deny">Deny</button>',
    '</div>',
    '</form>'
  ].join('\n')
}
