import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import puppeteer from 'puppeteer-core'
import type { Browser, Page } from 'puppeteer-core'
import type { Test } from 'tap'

/** A real browser without a window. It stays on loopback: every other host is unknown to it. */

const INSTALL = 'no Chromium at /usr/bin/chromium: apt-get install chromium, or set CHROMIUM_PATH'

export interface PageOptions {
  width: number
  height: number
  /** The color scheme that the person prefers; light unless told. */
  dark?: boolean
}

export interface Chromium {
  readonly browser: Browser
  /** A page of a person of its own: cookies and storage are shared with no other page. */
  newPage (options: PageOptions): Promise<Page>
  /** Closed when the test ends; here for tests that want it sooner. */
  close (): Promise<void>
}

export function findChromium (): string | undefined {
  const path = process.env.CHROMIUM_PATH || '/usr/bin/chromium'
  try {
    accessSync(path, constants.X_OK)
    return path
  } catch {
    return undefined
  }
}

/**
 * A Chromium with a profile of its own, closed when the test ends. Where there is none it fails in CI and skips
 * elsewhere, by name, so that nobody takes a run without a browser for a run with it.
 *
 *     const chromium = await openChromium(t)
 *     if (!chromium) return
 */
export async function openChromium (t: Test): Promise<Chromium | undefined> {
  const executablePath = findChromium()
  if (executablePath === undefined) {
    if (process.env.CI) t.fail(INSTALL)
    else t.plan(0, INSTALL)
    return undefined
  }
  const userDataDir = mkdtempSync(join(tmpdir(), 'seed-chromium-'))
  const removeProfile = (): void =>
    rmSync(userDataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  let browser: Browser
  try {
    browser = await puppeteer.launch({
      executablePath,
      userDataDir,
      pipe: true,
      args: [
        // Chromium's sandbox refuses to run as root, as containers do.
        ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
        '--disable-dev-shm-usage',
        '--disable-gpu',
        '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE [::1]'
      ]
    })
  } catch (error) {
    removeProfile()
    throw error
  }

  async function close (): Promise<void> {
    await browser.close()
    removeProfile()
  }

  async function newPage ({ width, height, dark = false }: PageOptions): Promise<Page> {
    const page = await (await browser.createBrowserContext()).newPage()
    await page.setViewport({ width, height })
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }])
    return page
  }

  t.teardown(close)
  return { browser, newPage, close }
}

/** A picture of the whole page, as `name`.png in the folder SCREENSHOTS; nothing when that is not set. */
export async function screenshot (page: Page, name: string): Promise<void> {
  const folder = process.env.SCREENSHOTS
  if (!folder) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}
