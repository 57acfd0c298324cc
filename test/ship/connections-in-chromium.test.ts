import t from 'tap'
import type { Page } from 'puppeteer-core'
import { getTokens, register, startBroker } from '../support/broker.ts'
import { openChromium, screenshot } from '../support/chromium.ts'
import { ping } from '../support/seed.ts'

/** A person in a real browser at /connections, on a desktop and on a phone. SCREENSHOTS=<folder> keeps pictures. */

const SIZES = [[1280, 900], [390, 844]] as const

async function press (page: Page, selector: string): Promise<void> {
  await Promise.all([page.waitForNavigation(), page.click(selector)])
}

const textOf = async (page: Page): Promise<string> =>
  await page.$eval('main', (main) => main.innerText.replace(/\s+/g, ' '))

async function signInAtProvider (page: Page): Promise<void> {
  await page.type('#login', 'ada')
  await page.type('#password', 'ada')
  await press(page, 'button[type=submit]')
}

t.test('in a real browser', async (t) => {
  const chromium = await openChromium(t)
  if (!chromium) return
  const seed = await startBroker(t, {
    env: { OIDC_SCOPES: 'openid profile email groups offline_access', SERVER_TITLE: 'Acme tools' }
  })
  for (const [width, height] of SIZES) {
    await t.test(`a person signs in, cuts off one application, then all, and signs out (${width} px)`, async (t) => {
      const editor = await getTokens(seed, { clientId: await register(seed.url, { client_name: 'Claude Code' }) })
      const mail = await getTokens(seed, { clientId: await register(seed.url, { client_name: 'Mail assistant' }) })
      const page = await chromium.newPage({ width, height })
      t.teardown(async () => { await page.browserContext().close() })
      const problems: string[] = []
      page.on('console', (message) => { problems.push(message.text()) })
      const picture = async (name: string): Promise<void> => { await screenshot(page, `connections-${name}-${width}`) }

      await page.goto(`${seed.url}/`)
      await press(page, 'a[href="/connections"]')
      t.match(await textOf(page), 'Sign in with your organisation first')
      await picture('before')
      await press(page, 'form[action$="/sign-in"] button')
      t.equal(new URL(page.url()).origin, seed.provider.issuer)
      await signInAtProvider(page)
      t.equal(page.url(), `${seed.url}/connections`)
      const list = await textOf(page)
      t.match(list, /Acme tools as Ada Lovelace/)
      t.match(list, /Claude Code .*Mail assistant|Mail assistant .*Claude Code/)
      t.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'no sideways scrolling')
      await picture('list')

      await press(page, 'button[aria-label="Cut off Claude Code"]')
      t.equal(page.url(), `${seed.url}/connections`)
      t.match(await textOf(page), 'The application has been cut off')
      t.notMatch(await textOf(page), 'Claude Code')
      t.equal((await ping(seed.url, editor.accessToken)).status, 401)
      t.equal((await ping(seed.url, mail.accessToken)).status, 200)
      await picture('ended')
      await press(page, 'form[action$="/end-all"] button')
      t.match(await textOf(page), 'No application can act in your name here')
      t.equal((await ping(seed.url, mail.accessToken)).status, 401)
      await press(page, 'form[action$="/sign-out"] button')
      t.match(await textOf(page), 'You are signed out here')
      await page.goBack()
      t.match(await textOf(page), 'Sign in with your organisation first', 'going back shows nothing')
      t.same(problems.filter((text) => !/favicon|404/.test(text)), [], 'the policy lets everything pass')
    })
  }

  await t.test('a page of another site cannot cut anything off', async (t) => {
    const { accessToken } = await getTokens(seed)
    const page = await chromium.newPage({ width: 1280, height: 900 })
    t.teardown(async () => { await page.browserContext().close() })
    await page.goto(`${seed.url}/connections`)
    await press(page, 'form[action$="/sign-in"] button')
    await signInAtProvider(page)
    const token = await page.$eval('input[name=token]', (field) => field.value)
    // The provider's page is one of another origin; it even knows the token of the form.
    await page.goto(`${seed.provider.issuer.replace('127.0.0.1', 'localhost')}/.well-known/openid-configuration`)
    await Promise.all([page.waitForNavigation(), page.evaluate((action, token) => {
      const form = document.createElement('form')
      Object.assign(form, { method: 'post', action })
      const field = document.createElement('input')
      Object.assign(field, { name: 'token', value: token })
      form.append(field)
      document.body.append(form)
      form.submit()
    }, `${seed.url}/connections/end-all`, token)])
    t.match(await textOf(page), 'The form was')
    t.equal((await ping(seed.url, accessToken)).status, 200)
  })
})
