import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import t from 'tap'
import type { AddressInfo } from 'node:net'
import type { HTTPRequest, Page } from 'puppeteer-core'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { openChromium, screenshot } from '../support/chromium.ts'
import type { Chromium } from '../support/chromium.ts'
import { editConsent } from '../support/consent-form.ts'
import { forward } from '../support/forward.ts'
import { freePort } from '../support/free-port.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { selfSigned } from '../support/tls.ts'

/**
 * A person in a real browser: consent, the provider's own page, and back at the client, which listens on this machine;
 * and every page that says why it does not go on. SCREENSHOTS=<folder> keeps a picture of each.
 */

const MODES = ['proxy', 'broker'] as const
const SIZES = [[1280, 900], [390, 844]] as const
const STATE = 'state-of-the-client'

t.test('in a real browser', async (t) => {
  const chromium = await openChromium(t)
  if (!chromium) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const client = await startClient(t)
  const clientUri = client.uri

  for (const mode of MODES) {
    const seed = await startSeed(t, {
      sharedProvider: provider,
      env: { OAUTH_MODE: mode, OIDC_SCOPES: 'openid profile email groups offline_access' }
    })
    await ready(seed)
    const clientId = await register(seed, 'Claude Code', clientUri)
    const url = authorizeUrl(seed, clientId, clientUri)

    for (const [width, height] of SIZES) {
      const picture = (page: Page, name: string) => screenshot(page, `${mode}-${name}-${width}`)
      const newPage = (t: Test) => openPage(t, chromium, width, height)

      await t.test(`allow, sign in and return to the client (${mode}, ${width} px)`, async (t) => {
        const page = await newPage(t)
        await page.goto(url)
        t.same(await textOf(page, 'h1'), `Allow Claude Code to use ${new URL(seed.url).host}?`)
        t.match(await textOf(page, 'main'), new URL(clientUri).host)
        await picture(page, 'consent')
        await press(page, 'button[value=approve]')
        t.equal(new URL(page.url()).origin, provider.issuer, "the provider's own page")
        await signIn(page)
        const back = new URL(page.url())
        t.equal(back.origin + back.pathname, clientUri)
        t.match(Object.fromEntries(back.searchParams), {
          code: /./,
          state: STATE,
          ...(mode === 'broker' && { iss: seed.url })
        })
        t.equal(await textOf(page, 'h1'), 'The client has its answer')
        t.notMatch(client.lastReferer() ?? '', seed.url, 'and was told nothing of the way')

        await page.goBack()
        await page.goto(url)
        t.equal(
          await page.$eval('button[value=approve]', ({ textContent }) => textContent),
          'Allow',
          'the next time, the person is asked again'
        )
      })

      await t.test(`deny (${mode}, ${width} px)`, async (t) => {
        const page = await newPage(t)
        await page.goto(url)
        await press(page, 'button[value=deny]')
        const back = new URL(page.url())
        t.equal(back.origin + back.pathname, clientUri)
        t.match(Object.fromEntries(back.searchParams), {
          error: 'access_denied',
          state: STATE,
          ...(mode === 'broker' && { iss: seed.url })
        })
        t.equal(back.searchParams.has('code'), false)

        await page.goBack()
        if (await page.$('button[value=approve]') === null) await page.goto(url)
        t.ok(await page.$('button[value=approve]'), 'who goes back is asked again')
      })

      await t.test(`a consent page that was left open for too long (${mode}, ${width} px)`, async (t) => {
        const page = await newPage(t)
        await page.goto(url)
        const sealed = await page.$eval('input[name=consent]', ({ value }) => value)
        const expired = await editConsent(seed, sealed, (form) => { form.expiresAt -= 900_000 })
        await page.$eval('input[name=consent]', (field, value) => { field.value = value }, expired)
        await press(page, 'button[value=approve]')
        await tells(t, seed, page, { title: /has expired/, advice: /connect again/ })
        await picture(page, 'expired')
      })

      await t.test(`a client that is no longer registered (${mode}, ${width} px)`, async (t) => {
        const page = await newPage(t)
        await page.goto(authorizeUrl(seed, 'seed-gone', clientUri))
        await tells(t, seed, page, { title: /Connect the application again/, advice: /connect it again/ })
        await picture(page, 'unknown-client')
      })
    }
  }

  const seed = await startSeed(t, { sharedProvider: provider, env: { OAUTH_MODE: 'broker' } })
  await ready(seed)
  const url = authorizeUrl(seed, await register(seed, 'Claude Code', clientUri), clientUri)

  for (const [width, height] of SIZES) {
    const picture = (page: Page, name: string) => screenshot(page, `broker-${name}-${width}`)
    const newPage = (t: Test) => openPage(t, chromium, width, height)

    await t.test(`the callback in another browser is refused (${width} px)`, async (t) => {
      const [person, another] = [await newPage(t), await newPage(t)]
      await person.goto(url)
      await press(person, 'button[value=approve]')
      const callback = await held(person, `${seed.url}/oauth/callback`, () =>
        signIn(person, (selector) => person.click(selector))
      )
      const asked = provider.hits()['/token']
      await another.goto(callback)
      await tells(t, seed, another, { title: /You were not signed in/, advice: /another browser.*close this page/ })
      t.equal(await another.$('main a'), null, 'no way on from there')
      t.equal(provider.hits()['/token'], asked, 'the code was not spent')
      await picture(another, 'wrong-browser')
      await person.goto(callback)
      t.match(person.url(), clientUri, 'the person who allowed it goes on')

      await person.goto(callback)
      await tells(t, seed, person, { title: /has expired/, advice: /connect again/ })
      await picture(person, 'finished-before')
    })

    await t.test(`the provider goes down while the user is signing in there (${width} px)`, async (t) => {
      const page = await newPage(t)
      await page.goto(url)
      await press(page, 'button[value=approve]')
      provider.setFault('/token', 'down')
      await signIn(page)
      provider.setFault('/token', undefined)
      await tells(t, seed, page, { title: /not available/i, advice: /minute/ })
      await picture(page, 'provider-down')
      await returns(t, page, clientUri, { error: 'temporarily_unavailable', state: STATE, iss: seed.url })
    })

    await t.test(`a user whom the access rules refuse (${width} px)`, async (t) => {
      const strict = await startSeed(t, {
        sharedProvider: provider,
        env: { OAUTH_MODE: 'broker', ACCESS_GROUPS: 'board', ACCESS_CONTACT: 'it-help@example.com' }
      })
      await ready(strict)
      const page = await newPage(t)
      await page.goto(authorizeUrl(strict, await register(strict, 'Claude Code', clientUri), clientUri))
      await press(page, 'button[value=approve]')
      await signIn(page)
      await tells(t, strict, page, { title: /may not use/i, advice: /it-help@example\.com/ })
      await picture(page, 'refused')
      await returns(t, page, clientUri, { error: 'access_denied', state: STATE, iss: strict.url })
    })

    await t.test(`the provider has not been discovered yet (${width} px)`, async (t) => {
      const away = await startDevProvider({ algorithm: 'ES256' })
      t.teardown(async () => { await away.close() })
      away.setFault('/.well-known/openid-configuration', 500)
      const alone = await startSeed(t, { sharedProvider: away, env: { OAUTH_MODE: 'broker' } })
      const page = await newPage(t)
      await page.goto(authorizeUrl(alone, 'claude-code', clientUri))
      await press(page, 'button[value=approve]')
      await tells(t, alone, page, { title: /not available/i, advice: /minute/ })
    })
  }

  await t.test("over https the __Host- cookies are set, sent after the provider's redirect, and cleared", async (t) => {
    const port = await freePort()
    const baseUrl = `https://localhost:${port}`
    const elsewhere = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: [`${baseUrl}/oauth/callback`] })
    t.teardown(async () => { await elsewhere.close() })
    const behind = await startSeed(t, { sharedProvider: elsewhere, env: { OAUTH_MODE: 'broker', BASE_URL: baseUrl } })
    await ready(behind)
    await terminateTls(t, port, behind.url)
    const page = await openPage(t, chromium, 1280, 900)
    await trustAnyCertificate(page)

    await page.goto(authorizeUrl({ url: baseUrl }, 'claude-code', clientUri))
    const asked = await seedCookies(page)
    t.match(asked, [
      { name: /^__Host-seed-browser-/, secure: true, httpOnly: true, sameSite: 'Lax', path: '/', domain: 'localhost' }
    ])
    t.equal(asked.length, 1, 'the cookie of the sign-in comes with the approval')
    await press(page, 'button[value=approve]')
    t.equal(new URL(page.url()).origin, elsewhere.issuer, 'another site (127.0.0.1 is not localhost)')
    t.match((await seedCookies(page)).map(({ name }) => name).sort(), [
      /^__Host-seed-browser-/,
      /^__Host-seed-sign-in-/
    ])
    await signIn(page)
    t.match(page.url(), clientUri)
    t.match(Object.fromEntries(new URL(page.url()).searchParams), { code: /^[\w-]{43}$/, iss: baseUrl, state: STATE })
    t.same(
      (await seedCookies(page)).map(({ name }) => name.replace(/[\w-]{8}$/, '')),
      ['__Host-seed-browser-'],
      'and has served'
    )
  })

  await t.test('a web client that opens the sign-in in a popup learns that it finished', async (t) => {
    const web = await openPage(t, chromium, 1280, 900)
    await web.goto(clientUri)
    const opened = once(web as never, 'popup') as Promise<[Page]>
    await web.evaluate((url) => { window.open(url, 'sign-in', 'popup') }, url)
    const [popup] = await opened
    await popup.waitForSelector('button[value=deny]')
    await press(popup, 'button[value=deny]')
    t.match(popup.url(), clientUri)
    t.equal(await popup.evaluate(() => window.opener !== null), true)
  })
})

/** A page of a person of its own. */
async function openPage (t: Test, chromium: Chromium, width: number, height: number): Promise<Page> {
  const page = await chromium.newPage({ width, height })
  t.teardown(async () => { await page.browserContext().close() })
  return page
}

async function press (page: Page, selector: string): Promise<void> {
  await Promise.all([page.waitForNavigation(), page.click(selector)])
}

/** Fills in the provider's page. */
async function signIn (page: Page, send = (selector: string) => press(page, selector)): Promise<void> {
  await page.type('#login', 'ada')
  await page.type('#password', 'ada')
  await send('button[type=submit]')
}

/** The text of the page. */
async function textOf (page: Page, selector: string): Promise<string> {
  return await page.$eval(selector, (element) =>
    (element as HTMLElement).innerText.replace(/\s+/g, ' ').replace(' ?', '?')
  )
}

/** An error page: a title, a sentence, what to do, and a reference that is in the log. Nothing to scroll. */
async function tells (
  t: Test,
  seed: TestSeed,
  page: Page,
  { title, advice }: { title: RegExp; advice: RegExp }
): Promise<void> {
  t.match(await textOf(page, 'h1'), title)
  t.match(await textOf(page, 'main'), advice)
  const reference = await textOf(page, 'small code')
  t.match(
    await seed.logged((line) =>
      [line['reqId'], line['signIn']].includes(reference) && line.msg === 'Request' && line['reason'] !== undefined
    ),
    { reason: /./ },
    'the reference leads to the reason'
  )
  t.ok(
    await page.evaluate(
      () =>
        document.documentElement.scrollHeight <= window.innerHeight &&
        document.documentElement.scrollWidth <= window.innerWidth
    ),
    'all of it is on the screen'
  )
}

/** The button leads back to the application, which is told what happened. */
async function returns (t: Test, page: Page, clientUri: string, told: Record<string, string>): Promise<void> {
  await press(page, 'main a')
  const back = new URL(page.url())
  t.equal(back.origin + back.pathname, clientUri)
  t.match(Object.fromEntries(back.searchParams), told)
  t.equal(back.searchParams.has('code'), false)
}

/** Holds the page back from the first address that begins so, and gives that address. */
async function held (page: Page, beginning: string, act: () => Promise<void>): Promise<string> {
  await page.setRequestInterception(true)
  const { promise, resolve } = withResolvers<string>()
  const intercept = (request: HTTPRequest): void => {
    const isIt = request.url().startsWith(beginning)
    if (isIt) resolve(request.url())
    const handled = isIt ? request.abort('aborted') : request.continue()
    handled.catch(() => {})
  }
  page.on('request', intercept)
  await act()
  const url = await promise
  page.off('request', intercept)
  await page.setRequestInterception(false)
  return url
}

function withResolvers<T> (): { promise: Promise<T>, resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

async function seedCookies (page: Page) {
  return (await page.browserContext().cookies()).filter(({ name }) => name.includes('seed-'))
}

async function trustAnyCertificate (page: Page): Promise<void> {
  const session = await page.createCDPSession()
  await session.send('Security.setIgnoreCertificateErrors', { ignore: true })
}

/** Imitates nginx in front of Seed. */
async function terminateTls (t: Test, port: number, upstream: string): Promise<void> {
  const { hostname, port: seedPort } = new URL(upstream)
  const server = createTlsServer(selfSigned(t, ['localhost']), (request, response) => {
    forward(request, response, { hostname, port: seedPort, agent: false })
  }).listen(port, 'localhost')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
}

/** A client's own address on this machine, where the browser ends up. */
async function startClient (t: Test): Promise<{ uri: string, lastReferer (): string | undefined }> {
  let referer: string | undefined
  const server = createServer(({ url, headers }, response) => {
    if (url!.startsWith('/callback')) referer = headers.referer
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end('<!doctype html><title>Client</title><h1>The client has its answer</h1>')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`, lastReferer: () => referer }
}

async function register ({ app }: TestSeed, name: string, uri: string): Promise<string> {
  const response = await app.inject({
    method: 'POST',
    url: '/oauth/register',
    payload: { client_name: name, redirect_uris: [uri] }
  })
  return response.json<{ client_id: string }>().client_id
}

function authorizeUrl ({ url }: Pick<TestSeed, 'url'>, clientId: string, redirectUri: string): string {
  const codeChallenge = createHash('sha256').update(randomBytes(32).toString('base64url')).digest('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    state: STATE,
    code_challenge: codeChallenge,
    code_challenge_method: 'S256'
  })
  return `${url}/oauth/authorize?${query}`
}
