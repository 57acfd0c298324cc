import { spawn } from 'node:child_process'

/** Programs that open a URL, and their arguments before it. No shell reads the URL. */
const OPENERS: Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler']
}

/**
 * Opens a URL in the user's browser.
 *
 * @param url an http or https URL
 * @returns false if this machine has no program for it
 */
export async function openBrowser (url: URL, platform: NodeJS.Platform = process.platform): Promise<boolean> {
  const [program, ...args] = OPENERS[platform] ?? ['xdg-open']
  const child = spawn(program, [...args, url.href], { detached: true, stdio: 'ignore' })
  return await new Promise((resolve) => {
    child.once('spawn', () => {
      child.unref()
      resolve(true)
    })
    child.once('error', () => { resolve(false) })
  })
}
