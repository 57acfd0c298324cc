import { escapeHtml, isolateText, PAGE_HEADERS, renderPage, STYLE_SOURCE, sanitizeText } from './layout.ts'

/** What a person is asked before a client may send them to sign in. */
export interface ConsentPage {
  /** As the client calls itself; untrusted. */
  clientName: string
  /** Who vouches for the name: 'registered' (nobody: it named itself), 'document' (published at documentHost), 'configured' (the operator), 'unregistered' (nobody). */
  clientKind: 'registered' | 'document' | 'configured' | 'unregistered'
  /** Host of the client's metadata document, for 'document'. */
  documentHost?: string | undefined
  /** Where the authorization code goes: host and port, punycode as it is. For a private-use scheme the scheme, such as cursor: */
  destination: string
  /** 'loopback': a program on this computer; 'app': a desktop app by private-use scheme; 'web': a web site. */
  destinationKind: 'web' | 'loopback' | 'app'
  /** Words for people, already resolved, and the scope's own name. */
  scopes: ReadonlyArray<{ name: string, words: string }>
  /** The MCP server that will be reached: BASE_URL/mcp. */
  resource: string
  /** Where the form is posted: an absolute path. */
  action: string
  /** Goes into the hidden field `consent`. */
  consentId: string
}

/**
 * The headers of every page, with another policy: no `form-action` at all. Browsers apply it to the redirects behind
 * the form as well, and these lead to the provider and on to the client, on hosts that nobody can list here.
 */
export const CONSENT_HEADERS = {
  ...PAGE_HEADERS,
  'content-security-policy': `default-src 'none'; style-src ${STYLE_SOURCE}; base-uri 'none'; frame-ancestors 'none'`
}

const LONGEST_NAME = 100

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

/** Where no warning says it already. */
const DENY = ' If you did not start this, choose <strong>Deny</strong>.'

const INTERNATIONAL = 'This address uses an international name, written here in its plain form. Check that it is the one you expect.'

export function renderConsentPage (page: ConsentPage): string {
  const { clientName, destination, destinationKind, scopes, resource, action, consentId } = page
  const name = cut(sanitizeText(clientName)) || 'An application without a name'
  const { host } = new URL(resource)
  const warnings = [...WARNINGS[destinationKind]]
  if (destination.includes('xn--')) warnings.push(INTERNATIONAL)
  const parts = [
    `<h1><span>Allow</span> <bdi>${escapeHtml(name)}</bdi> <span>to use</span> <bdi>${escapeHtml(host)}</bdi><span>?</span></h1>`,
    `<p class="soft">${vouch(page)}</p>`,
    '<section aria-labelledby="abilities">',
    '<h2 id="abilities">What it will be able to do</h2>',
    `<ul role="list">\n${renderScopes(scopes)}\n</ul>`,
    `<p><small>On the server <code>${escapeHtml(resource)}</code></small></p>`,
    '</section>',
    '<section aria-labelledby="destination">',
    '<h2 id="destination">Where the result of the sign-in is sent</h2>',
    `<p class="address"><code>${isolateText(destination)}</code></p>`,
    `<p>${DESTINATIONS[destinationKind]}</p>`,
    '</section>',
    ...warnings.map((warning) => `<p class="warning"><strong>${warning}</strong></p>`),
    `<p>After allowing, you sign in with your organisation.${warnings.length > 0 ? '' : DENY}</p>`,
    // Off, or some browsers put the id of an earlier page back into the field.
    `<form method="post" action="${escapeHtml(action)}" autocomplete="off">`,
    `<input type="hidden" name="consent" value="${escapeHtml(consentId)}">`,
    '<div class="actions">',
    '<button class="button primary" type="submit" name="decision" value="approve">Allow</button>',
    '<button class="button" type="submit" name="decision" value="deny">Deny</button>',
    '</div>',
    '</form>'
  ]
  return renderPage(`Allow ${name} to use ${host}?`, parts.join('\n'))
}

/** HTML: whose word the name is. */
function vouch ({ clientKind, documentHost }: ConsentPage): string {
  if (clientKind === 'configured') return 'The operator of this server has set up this application.'
  const claim = 'The application chose this name itself; nobody has verified it.'
  if (clientKind === 'unregistered') return `${claim} It is not registered with this server.`
  if (clientKind === 'document' && documentHost !== undefined) return `Published by <strong>${isolateText(documentHost)}</strong>. ${claim}`
  return claim
}

function renderScopes (scopes: ConsentPage['scopes']): string {
  if (scopes.length === 0) return '<li>Use this server in your name</li>'
  return scopes.map(({ name, words }) => `<li>${isolateText(words)} <small><code>${isolateText(name)}</code></small></li>`).join('\n')
}

/** By whole characters, as half of one shows as a question mark. */
function cut (name: string): string {
  const characters = [...name]
  return characters.length > LONGEST_NAME ? `${characters.slice(0, LONGEST_NAME - 1).join('')}…` : name
}
