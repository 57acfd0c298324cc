import t from 'tap'
import { renderConsentPage } from '../../src/pages/consent.ts'
import { renderConnectionsPage } from '../../src/pages/connections.ts'
import { renderErrorPage } from '../../src/pages/error.ts'
import { renderHomePage } from '../../src/pages/home.ts'
import { escapeHtml, FORM_PAGE_HEADERS, PAGE_HEADERS } from '../../src/pages/layout.ts'
import {
  CONNECTIONS, CONNECTIONS_PAGES, CONSENT, CONSENTS, ERROR, ERRORS, HOMES, HOSTILE, LONG_HOST, TOWER
} from '../support/pages.ts'

/** The pages as markup. In a real browser: ship/pages-in-chromium. */

const textOf = (html: string): string => html.slice(html.indexOf('<main>')).replace(/<[^>]+>/g, '').replace(
  /&#(\d+);/g,
  (_, code: string) => String.fromCodePoint(Number(code))
)

t.test('the policy allows one style sheet, no script, no frame, and a form only where there is one', async (t) => {
  for (const [headers, html] of [
    [FORM_PAGE_HEADERS, renderConsentPage(CONSENT)],
    [PAGE_HEADERS, renderErrorPage(ERROR)]
  ] as const) {
    t.match(
      headers,
      { 'content-type': 'text/html; charset=utf-8', 'x-frame-options': 'DENY', 'cache-control': 'no-store' }
    )
    t.match(
      headers['content-security-policy'],
      /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none';.* frame-ancestors 'none'$/
    )
    t.notMatch(headers['content-security-policy'], 'unsafe')
    t.notMatch(html, /<script|<img|<link|src=|url\(|@import|https?:\/\/(?!mcp\.example\.com\/mcp)/i)
  }
  t.notMatch(FORM_PAGE_HEADERS['content-security-policy'], 'form-action')
  t.match(PAGE_HEADERS['content-security-policy'], "form-action 'none'")
})

t.test('the consent page says who asks, for what, and where the person is sent afterwards', async (t) => {
  for (const [name, wanted, unwanted] of [
    ['web', [
      'Allow Claude to use mcp.example.com?',
      'Published by claude.ai. The application chose this name itself; nobody has verified it.',
      'Use the tools of this server on your behalf mcp:tools',
      'https://mcp.example.com/mcp',
      'claude.ai\nThis is a web site. Only allow this if you know it and trust it.',
      'Next, you will sign in with your organisation. If you did not start this, choose Deny.'
    ], ['international', 'just started']],
    ['loopback', [
      'The application chose this name itself; nobody has verified it.',
      'localhost:53682',
      'Only allow this if you just started this sign-in on this computer yourself.'
    ], ['Published', 'not registered']],
    ['app', [
      'The operator of this server has set up this application.',
      'cursor:',
      'Only allow this if you just started this sign-in yourself, in an app on this device.'
    ], ['nobody has verified']],
    ['international', [
      'nobody has verified it. It is not registered with this server.',
      'xn--clad-6qa.xn--p1ai:8443',
      'An address on this page has an international name, shown here in its encoded form. Check that it is the one you ' +
      'expect.',
      'Use this server on your behalf'
    ], []],
    ['publisher', [
      'Published by', 'xn--clude-9ze.example', 'An address on this page has an international name'
    ], []],
    ['wide', ['nobody has verified it.'], ['Published']]
  ] as const) {
    const shown = textOf(renderConsentPage(CONSENTS[name]!))
    for (const words of wanted) t.ok(shown.includes(words), `${name}: ${words}`)
    for (const words of unwanted) t.notOk(shown.includes(words), `${name}: not ${words}`)
  }
})

t.test('a client name is shown as one line of visible text, of at most 100 characters', async (t) => {
  const named = (clientName: string): string => /<h1><span>Allow<\/span> <bdi>(.*?)<\/bdi> <span>to use/s.exec(
    renderConsentPage({ ...CONSENT, clientName })
  )![1]!
  t.equal(named('\u202eevil\u202c \u2066x\u2069\u200f'), 'evil x', 'no direction characters')
  t.equal(named(' a\tb\r\nc\u2028d\u00a0\u0000\u0007e '), 'a b c d e')
  t.equal(named('\u3164\u2800\u200b\u00ad\u{e0041}'), 'An application without a name')
  t.equal(named('\ud800x'), 'x', 'no half of a surrogate pair')
  t.equal(named('x'.repeat(100)), 'x'.repeat(100))
  t.equal(named('x'.repeat(101)), `${'x'.repeat(99)}…`)
  t.equal(named('😀'.repeat(500)), `${'😀'.repeat(99)}…`)
  t.equal(named(TOWER).match(/\p{M}/gu)?.length, 3)
  t.equal(named(HOSTILE.slice(0, 20)), escapeHtml(HOSTILE.slice(0, 20)))
  t.equal(
    renderConsentPage({ ...CONSENT, destination: LONG_HOST }).split(LONG_HOST).length,
    2,
    'an address is never truncated: its end says whose it is'
  )
  const html = renderConsentPage({
    ...CONSENT,
    clientKind: 'document',
    documentHost: 'a\u202eb',
    destination: 'c\u202ed',
    scopes: [{ name: 'e\u202ef', description: 'g\u202eh' }]
  })
  for (const isolated of ['ab', 'ef', 'gh']) t.match(html, `<bdi>${isolated}</bdi>`)
  t.match(html, '<bdi><strong>cd</strong></bdi>')
})

t.test('the page of connections says who confirms a name, what an application may do, and when it was used', async (t) => {
  const shown = textOf(renderConnectionsPage(CONNECTIONS)).replace(/\s+/g, ' ')
  for (const words of [
    'The application has been cut off. It can no longer act in your name.',
    'You are signed in to Acme tools as Ada Lovelace.',
    'Claude Code It chose its name itself; nobody has verified it. Its id is seed-4TRTR_-oJz1VyWAhHvXPYf8t.',
    'Use the tools of this server on your behalf mcp:tools',
    'Allowed 18 Nov 2026, last used 28 Nov 2026, 21:06 UTC. 2 sessions are open.',
    'Claude Published by claude.ai. It chose its name itself; nobody has verified it. Use this server on your behalf',
    '1 session is open.',
    'cursor It chose its name itself; nobody has verified it. It is not registered with this server.',
    'Quarterly reports The operator of this server has set up this application.',
    'Your applications have 2 streams open now. The last use may have been up to 15 minutes later than shown.'
  ]) t.ok(shown.includes(words), words)
  t.equal(renderConnectionsPage(CONNECTIONS).split('<form method="post"').length - 1, 6, 'one for each, all, and sign out')
  const hostile = renderConnectionsPage(CONNECTIONS_PAGES['hostile']!)
  t.notMatch(hostile, /<script|<img|'>/)
  t.equal(hostile.split('aria-label="Cut off &#34;').length, 2)
  const long = textOf(renderConnectionsPage(CONNECTIONS_PAGES['long']!))
  t.ok(long.includes(`${'W'.repeat(99)}…`))
  t.ok(long.includes('have 1 stream open now. The last use may have been up to 1 minute later'))
  t.notOk(textOf(renderConnectionsPage(CONNECTIONS_PAGES['empty']!)).includes('Cut off all'))
})

t.test('the home page links to a contact that is an address, and shows any other as text', async (t) => {
  t.match(renderHomePage(HOMES['named']!), '<a href="mailto:it@acme.example">')
  const unavailable = renderHomePage(HOMES['unavailable']!)
  t.match(textOf(unavailable), 'Questions: Room 4.12.')
  t.notMatch(unavailable, 'mailto:')
})

t.test('the home page says how to connect to each endpoint', async (t) => {
  const page = renderHomePage(HOMES['named']!)
  const text = textOf(page)
  for (const part of [
    'Other addresses of this server', 'Sales', 'Offers and invoices', 'https://mcp.example.com/mcp/sales', 'Acme: ops',
    'claude mcp add --transport http acme-sales https://mcp.example.com/mcp/sales',
    'claude mcp add --transport http acme-ops https://mcp.example.com/mcp/ops'
  ]) t.ok(text.includes(part), part)
  t.equal(page.split('Add to Cursor').length, 4)
  t.notMatch(renderHomePage(HOMES['plain']!), 'Other addresses')
})

t.test('the error page has the reference, and a link if there is one', async (t) => {
  const plain = renderErrorPage(ERROR)
  t.notMatch(plain, /<a |href=/)
  t.match(plain, `<code>${ERROR.reference}</code>`)
  const link = '<a class="button primary" href="http://127.0.0.1:53682/callback?error=access_denied&#38;state=a%20b" ' +
    'rel="noreferrer">Return to the application</a>'
  t.match(renderErrorPage(ERRORS['link']!), link)
  t.equal(escapeHtml('&<>"\'a'), '&#38;&#60;&#62;&#34;&#39;a')
})
