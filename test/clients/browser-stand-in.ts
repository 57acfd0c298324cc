import { once } from 'node:events'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { createBrowser } from '../support/browser.ts'

export interface BrowserStandIn {
  /**
   * Environment for a client that opens a browser: a HOME of its own, and commands that hand the URL to the stand-in.
   */
  env: Record<string, string>
  /** Consents, signs in as ada and calls the client back; rejects when a page is in the way. */
  visit (url: string): Promise<void>
  /** The number of sign-ins. */
  visits (): number
}

/**
 * Commands by which clients open a browser on Linux. With DISPLAY set, xdg-open would find an installed browser
 * itself.
 */
const COMMANDS = ['xdg-open', 'sensible-browser', 'x-www-browser', 'www-browser', 'gio', 'open']

/** A stand-in that is running. */
export interface StartedStandIn extends BrowserStandIn {
  /** Rejects when a sign-in fails; it never resolves. */
  failed: Promise<never>
  close (): void
}

/** Stands in for a person at a browser, in front of clients that are programs of their own. */
export async function createBrowserStandIn (t: Test, folder: string): Promise<BrowserStandIn> {
  const standIn = await startBrowserStandIn(
    folder,
    async (url) => await createBrowser().signIn(url, { login: 'ada', password: 'ada' })
  )
  standIn.failed.catch((err: Error) => { t.fail(`sign-in: ${err.message}`) })
  t.teardown(() => { standIn.close() })
  return standIn
}

/**
 * Starts a stand-in, outside of a test.
 *
 * @param signIn what the person does in the browser; the result is the redirect URI with the answer
 */
export async function startBrowserStandIn (
  folder: string,
  signIn: (url: URL) => Promise<URL>
): Promise<StartedStandIn> {
  let count = 0
  let fail: (err: Error) => void
  const failed = new Promise<never>((_resolve, reject) => { fail = reject })
  failed.catch(() => {})

  async function visit (url: string): Promise<void> {
    count++
    await fetch(await signIn(new URL(url)))
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://localhost').searchParams.get('url')!
    response.end()
    visit(url).catch((err: Error) => { fail(err) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')

  const commands = join(folder, 'bin')
  const home = join(folder, 'home')
  await mkdir(commands)
  await mkdir(home)
  for (const command of COMMANDS) {
    const path = join(commands, command)
    await writeFile(
      path,
      `#!/bin/sh\nfor last; do :; done\nexec curl -sG "http://127.0.0.1:${(server.address() as AddressInfo).port}/" --data-urlencode "url=$last"\n`
    )
    await chmod(path, 0o755)
  }
  return {
    env: {
      HOME: home,
      PATH: `${commands}:${process.env['PATH']}`,
      BROWSER: join(commands, 'xdg-open'),
      DISPLAY: '',
      MCP_AUTO_OPEN_ENABLED: 'true'
    },
    visit,
    visits: () => count,
    failed,
    close: () => { server.close() }
  }
}
