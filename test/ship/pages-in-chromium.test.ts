import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page, SerializedAXNode } from 'puppeteer-core'
import type { Test } from 'tap'
import { renderConsentPage } from '../../src/pages/consent.ts'
import {
  renderConnectionsPage, renderConnectionsSignInPage, renderReauthenticationPage
} from '../../src/pages/connections.ts'
import { renderErrorPage } from '../../src/pages/error.ts'
import { renderHomePage } from '../../src/pages/home.ts'
import {
  CONNECTIONS_PAGE_HEADERS, CONNECTIONS_SIGN_IN_PAGE_HEADERS, FORM_PAGE_HEADERS, HOME_PAGE_HEADERS, PAGE_HEADERS
} from '../../src/pages/layout.ts'
import { openChromium, screenshot } from '../support/chromium.ts'
import { CONNECTIONS, CONNECTIONS_PAGES, CONSENT, CONSENTS, ERRORS, HOMES, HOSTILE, ICON } from '../support/pages.ts'

const WIDTHS = [[320, 640], [390, 844], [1280, 900]] as const

/** The headers that src/app.ts sets on every response. */
const EVERYWHERE = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' }

interface ReceivedRequest {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: string
}

interface Site {
  url: string
  received: ReceivedRequest[]
  /** Path to page; a test may add its own. */
  pages: Map<string, { status?: number, headers: Record<string, string>, html: string }>
}

/** The pages with their real headers, at /consent/<name> and /error/<name>. */
async function serve (t: Test): Promise<Site> {
  const site: Site = { url: '', received: [], pages: new Map() }
  for (const [name, page] of Object.entries(CONSENTS)) {
    site.pages.set(
    `/consent/${name}`,
    { headers: FORM_PAGE_HEADERS, html: renderConsentPage(page) }
    )
  }
  for (const [name, page] of Object.entries(ERRORS)) {
    site.pages.set(
    `/error/${name}`,
    { headers: PAGE_HEADERS, html: renderErrorPage(page) }
    )
  }
  for (const [name, page] of Object.entries(CONNECTIONS_PAGES)) {
    site.pages.set(`/connections/${name}`, { headers: CONNECTIONS_PAGE_HEADERS, html: renderConnectionsPage(page) })
  }
  for (const [name, html] of Object.entries({
    'signed-out': renderConnectionsSignInPage({ ...CONNECTIONS, notice: 'signed-out' }),
    again: renderReauthenticationPage(CONNECTIONS)
  })) {
    site.pages.set(`/connections/${name}`, { headers: CONNECTIONS_SIGN_IN_PAGE_HEADERS, html })
  }
  for (const [name, page] of Object.entries(HOMES)) {
    site.pages.set(`/home/${name}`, { headers: HOME_PAGE_HEADERS, html: renderHomePage(page) })
  }
  const server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request
    const body = await text(request)
    if (url !== '/favicon.ico') site.received.push({ method, url, headers, body })
    const page = url === '/icon' ? { headers: { 'content-type': 'image/svg+xml' }, html: ICON } : site.pages.get(url)
    response.writeHead(page === undefined ? 204 : page.status ?? 200, { ...EVERYWHERE, ...page?.headers })
    response.end(page?.html)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  site.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return site
}

/** Collects what the browser reports: blocked styles, broken markup, exceptions and dialogs. */
function collectReports (page: Page): string[] {
  const reports: string[] = []
  page.on('console', (message) => reports.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => reports.push(String(error)))
  page.on('dialog', (dialog) => {
    reports.push(`dialog: ${dialog.message()}`)
    dialog.dismiss().catch(() => {})
  })
  return reports
}

t.test('in a real browser', async (t) => {
  const chromium = await openChromium(t)
  if (!chromium) return
  const site = await serve(t)
  const open = async (path: string, width = 1280, height = 900, dark = false): Promise<{
    page: Page
    reports: string[]
  }> => {
    const page = await chromium.newPage({ width, height, dark })
    const reports = collectReports(page)
    await page.goto(`${site.url}${path}`)
    return { page, reports }
  }
  const close = async (page: Page): Promise<void> => { await page.browserContext().close() }

  await t.test('the policy refuses another style sheet, and the browser reports it', async (t) => {
    site.pages.set('/control', {
      headers: FORM_PAGE_HEADERS,
      html: '<!doctype html><title>x</title><style>body{color:red}</style><p onclick="x()">x'
    })
    const { page, reports } = await open('/control')
    t.match(reports.join('\n'), /Content Security Policy/)
    await close(page)
  })

  await t.test('each page fits, is styled and complete, and loads nothing else', async (t) => {
    for (const path of [...site.pages.keys()].filter((path) => path !== '/control')) {
      const { page, reports } = await open(path)
      site.received.length = 0
      await page.reload()
      for (const [width, height] of WIDTHS) {
        await page.setViewport({ width, height })
        const { wide, outside } = await page.evaluate(() => ({
          wide: document.documentElement.scrollWidth - window.innerWidth,
          outside: [...document.querySelectorAll('main *')].filter((element) => {
            const { left, right } = element.getBoundingClientRect()
            return left < 0 || right > window.innerWidth + 0.5
          }).map((element) => element.outerHTML.slice(0, 80))
        }))
        t.ok(wide <= 0, `${path} does not scroll sideways at ${width} px`)
        // A glyph that is wider than the screen cannot be broken: it is clipped.
        if (path !== '/consent/wide') t.same(outside, [], `${path}: nothing overflows at ${width} px`)
        if (width !== 320) {
          for (const dark of [false, true]) {
            await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }])
            await screenshot(page, `${path.slice(1).replace('/', '-')}-${width}-${dark ? 'dark' : 'light'}`)
          }
        }
      }
      const found = await page.evaluate(() => ({
        font: getComputedStyle(document.body).fontFamily,
        lang: document.documentElement.lang,
        mode: document.compatMode,
        title: document.title,
        counts: Object.fromEntries(['h1', 'main', 'script', 'img', 'iframe', 'style'].map((name) => [
          name,
          document.querySelectorAll(name).length
        ])),
        handlers: document.querySelectorAll('[onerror],[onload],[onclick]').length
      }))
      t.match(found.font, 'system-ui', `${path} is styled`)
      t.match(found, {
        lang: 'en',
        mode: 'CSS1Compat',
        counts: { h1: 1, main: 1, script: 0, img: path === '/home/named' ? 1 : 0, iframe: 0, style: 1 },
        handlers: 0
      })
      t.ok(found.title.length > 0)
      const icon = path === '/home/named' ? ['/icon'] : []
      t.same(site.received.map(({ url }) => url), [path, ...icon], 'nothing else is fetched')
      t.same(reports, [], `${path}: no report`)
      await close(page)
    }
  })

  await t.test('text has AA contrast in light and dark', async (t) => {
    for (const path of ['/consent/loopback', '/consent/international', '/consent/app', '/error/link', '/connections/list']) {
      for (const dark of [false, true]) {
        const { page } = await open(path, 390, 844, dark)
        const low = await page.evaluate(lowContrast)
        t.same(low.faint, [], `${path}, ${dark ? 'dark' : 'light'}`)
        t.ok(low.measured > 5)
        await close(page)
      }
    }
  })

  await t.test('buttons have names, values, a size and a visible focus; Enter on the second one denies', async (t) => {
    const { page } = await open('/consent/loopback', 390, 844)
    const buttons = await page.$$eval('form button', (all) => all.map((button) => ({
      name: button.name,
      value: button.value,
      type: button.type,
      text: button.textContent,
      height: button.getBoundingClientRect().height,
      width: button.getBoundingClientRect().width
    })))
    t.match(buttons, [
      { name: 'decision', value: 'approve', type: 'submit', text: 'Allow' },
      { name: 'decision', value: 'deny', type: 'submit', text: 'Deny' }
    ])
    t.ok(buttons.every(({ width, height }) => width >= 44 && height >= 44))
    for (const label of ['Allow', 'Deny']) {
      await page.keyboard.press('Tab')
      const focused = await page.evaluate(() => ({
        text: document.activeElement?.textContent,
        outline: getComputedStyle(document.activeElement!).outlineStyle,
        width: getComputedStyle(document.activeElement!).outlineWidth
      }))
      t.match(focused, { text: label, outline: 'solid', width: '3px' })
    }
    await screenshot(page, 'consent-focus-390-light')
    site.received.length = 0
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.url().endsWith('/oauth/consent')),
      page.keyboard.press('Enter')
    ])
    t.equal(answer.status(), 204)
    t.match(site.received, [{ method: 'POST', url: '/oauth/consent', body: 'consent=c0n-sent_ID&decision=deny' }])
    await close(page)
  })

  await t.test('a click posts the form, whatever is in the id', async (t) => {
    const { page, reports } = await open('/consent/hostile')
    const request = await press(page, site)
    t.same([...new URLSearchParams(request.body)], [['consent', HOSTILE], ['decision', 'approve']])
    t.match(request.headers, {
      'content-type': 'application/x-www-form-urlencoded',
      'sec-fetch-site': 'same-origin',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-user': '?1'
    })
    t.same(reports, [])
    await close(page)
  })

  await t.test('the form of a page with no-referrer is posted with Origin null', async (t) => {
    for (const [policy, origin] of [['no-referrer', 'null'], ['same-origin', site.url]] as const) {
      site.pages.set(
        '/consent/referrer',
        { headers: { ...FORM_PAGE_HEADERS, 'referrer-policy': policy }, html: renderConsentPage(CONSENT) }
      )
      const { page } = await open('/consent/referrer')
      t.equal((await press(page, site)).headers.origin, origin, policy)
      await close(page)
    }
  })

  await t.test('the policy allows the form to redirect to other hosts', async (t) => {
    const elsewhere = `${site.url.replace('127.0.0.1', 'localhost')}/error/plain`
    site.pages.set('/oauth/consent', { status: 303, headers: { location: elsewhere }, html: '' })
    t.teardown(() => site.pages.delete('/oauth/consent'))
    const { page, reports } = await open('/consent/web')
    await Promise.all([page.waitForNavigation(), page.click('button[value=approve]')])
    t.equal(page.url(), elsewhere)
    t.same(reports, [])
    await close(page)
  })

  await t.test('a screen reader gets roles and names', async (t) => {
    const { page } = await open('/consent/loopback')
    const tree = await roles(page)
    for (const wanted of [
      'RootWebArea Allow Claude Code to use mcp.example.com?',
      'main ',
      'heading Allow Claude Code to use mcp.example.com?',
      'region What it will be able to do',
      'region Where you will be sent afterwards',
      'list ',
      'button Allow',
      'button Deny'
    ]) {
      t.ok(tree.includes(wanted), wanted)
    }
    await close(page)
    const { page: error } = await open('/error/link')
    t.ok((await roles(error)).includes('link Return to the application'))
    await close(error)
  })

  await t.test('an application cannot reverse the direction of the page', async (t) => {
    site.pages.set('/consent/bidi', {
      headers: FORM_PAGE_HEADERS,
      html: renderConsentPage({
        ...CONSENT,
        clientName: '\u202edualC \u05d0\u05d1\u05d2',
        destination: 'evil.example\u202emoc.elpmaxe'
      })
    })
    const { page } = await open('/consent/bidi')
    const shown = await page.$$eval('h1 *', (parts) => parts.map((part) => ({
      text: part.textContent,
      top: part.getBoundingClientRect().top,
      left: part.getBoundingClientRect().left
    })))
    const reading = [
      ...shown
    ].sort((one, other) => Math.abs(one.top - other.top) > 20 ? one.top - other.top : one.left - other.left)
    t.same(reading.map(({ text }) => text), ['Allow', 'dualC \u05d0\u05d1\u05d2', 'to use', 'mcp.example.com', '?'])
    t.notMatch(await page.content(), /[\u202a-\u202e\u2066-\u2069]/)
    await close(page)
  })

  await t.test('no page is shown in a frame, of this site or of another', async (t) => {
    const { 'content-security-policy': policy, 'content-type': type } = FORM_PAGE_HEADERS
    site.pages.set('/unprotected', { headers: { 'content-type': type }, html: renderConsentPage(CONSENT) })
    site.pages.set(
      '/policy-alone',
      { headers: { 'content-type': type, 'content-security-policy': policy }, html: renderConsentPage(CONSENT) }
    )
    for (const host of ['127.0.0.1', 'localhost']) {
      for (const [path, shown] of [[
        '/unprotected',
        true
      ], ['/policy-alone', false], ['/consent/web', false], ['/error/plain', false]] as const) {
        const url = `${site.url.replace('127.0.0.1', host)}${path}`
        site.pages.set('/framing', {
          headers: { 'content-type': 'text/html' },
          html: `<!doctype html><title>x</title><iframe src="${url}"></iframe>`
        })
        const { page } = await open('/framing')
        const frame = page.frames().find((frame) => frame !== page.mainFrame())!
        t.equal(await frame.$('button[name=decision], small code') !== null, shown, `${path} at ${host}`)
        t.equal(frame.url(), shown ? url : 'chrome-error://chromewebdata/')
        await close(page)
      }
    }
  })
})

/** Presses the first button and returns the request that follows. */
async function press (page: Page, site: Site): Promise<ReceivedRequest> {
  site.received.length = 0
  await Promise.all([
    page.waitForResponse((response) => response.request().method() === 'POST'),
    page.click('form button')
  ])
  return site.received[0]!
}

/** Returns role and name of every node of the accessibility tree. */
async function roles (page: Page): Promise<string[]> {
  const flatten = ({ role, name = '', children = [] }: SerializedAXNode): string[] => [
    `${role} ${name}`,
    ...children.flatMap(flatten)
  ]
  return flatten((await page.accessibility.snapshot({ interestingOnly: false }))!)
}

/** Runs in the page: finds elements whose own text has too little contrast with the background. */
function lowContrast (): { measured: number, faint: string[] } {
  const parse = (color: string): number[] => color.match(/[\d.]+/g)!.map(Number)
  const luminance = (color: number[]): number => {
    const [r, g, b] = color.map((part) => part / 255).map((
      part
    ) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4) as [number, number, number]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element: Element | null): number[] => {
    for (; element !== null; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor)
      if (color[3] !== 0) return color
    }
    return [255, 255, 255]
  }
  const faint: string[] = []
  let measured = 0
  for (const element of document.querySelectorAll('main *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent!.trim() !== '')) continue
    const [one, other] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))] as const
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
    measured++
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 60)}`)
  }
  return { measured, faint }
}
