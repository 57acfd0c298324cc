import { request } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { RequestOptions } from 'node:https'
import { text } from 'node:stream/consumers'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/**
 * A browser without a window: it keeps cookies (a jar per origin), follows redirects by hand, reads the forms
 * of a page and posts them with the Origin and Sec-Fetch headers that a real one would send. Loopback only.
 */

export interface Form {
  action: URL
  method: string
  /** The values that are sent as they are: hidden fields and whatever else has a value. */
  fields: Record<string, string>
  /** Every named field that is not a button. */
  names: string[]
  buttons: Array<{ name: string, value: string }>
}

export interface Page {
  url: URL
  /** 0 when `stopAt` held the browser back from asking for `url`. */
  status: number
  headers: IncomingHttpHeaders
  body: string
  forms: Form[]
}

export type StopAt = (url: URL) => boolean

export interface Browser {
  /** Opens a page and follows its redirects, up to the first one for which `stopAt` holds. */
  get(url: string | URL, stopAt?: StopAt): Promise<Page>
  /** Sends a form with its own fields and `values`, which may hold a button: `{ decision: 'deny' }`. */
  submit(form: Form, values?: Record<string, string>, stopAt?: StopAt): Promise<Page>
  /**
   * Fills in and sends every form on the way, pressing the first button, and gives the URL that `stopAt` stopped at.
   */
  signIn(
    authorizationUrl: string | URL,
    values: { login: string; password: string } & Record<string, string>,
    stopAt?: StopAt
  ): Promise<URL>
}

interface Cookie {
  name: string
  value: string
  path: string
}

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]']
const MOST_STEPS = 20

/** @param https where https origins on this machine are really reached, by origin; all other URLs must be http */
export function createBrowser (https: Record<string, RequestOptions> = {}): Browser {
  const jars = new Map<string, Cookie[]>()
  const visited = new Set<string>()

  /** The client's redirect URI: the answer to an authorization request, on a server that has shown no page so far. */
  const isAnswer: StopAt = (url) =>
    (url.searchParams.has('code') || url.searchParams.has('error')) && !visited.has(url.origin)

  async function follow (url: URL, stopAt: StopAt, from: URL | undefined, body?: URLSearchParams): Promise<Page> {
    for (let step = 0; step < MOST_STEPS; step++) {
      if (!(url.origin in https) && (!LOOPBACK.includes(url.hostname) || url.protocol !== 'http:')) {
        throw new Error(`The scripted browser stays on loopback and was sent to ${url.href}`)
      }
      visited.add(url.origin)
      const response = await send(url, jars, from, body, https[url.origin])
      const { statusCode: status = 0, headers } = response
      const location = headers.location
      if (status < 300 || status > 399 || location === undefined) {
        const html = await text(response)
        return { url, status, headers, body: html, forms: readForms(html, url) }
      }
      response.resume()
      url = new URL(location, url)
      if (stopAt(url)) return { url, status: 0, headers: {}, body: '', forms: [] }
      if (status !== 307 && status !== 308) body = undefined
    }
    throw new Error(`More than ${MOST_STEPS} redirects, the last one to ${url.href}`)
  }

  const get: Browser['get'] = (url, stopAt = isAnswer) => follow(new URL(url), stopAt, undefined)

  const submit: Browser['submit'] = (form, values = {}, stopAt = isAnswer) => {
    const fields = new URLSearchParams({ ...form.fields, ...values })
    if (form.method === 'post') return follow(form.action, stopAt, form.action, fields)
    return follow(new URL(`?${fields}`, form.action), stopAt, form.action)
  }

  const signIn: Browser['signIn'] = async (authorizationUrl, values, stopAt = isAnswer) => {
    let signedIn = false
    let page = await get(authorizationUrl, stopAt)
    for (let step = 0; step < MOST_STEPS && page.status !== 0; step++) {
      const form = page.forms[0]
      if (form === undefined) {
        throw new Error(`No form to go on with at ${page.url.href} (${page.status}): ${page.body}`)
      }
      const asked = Object.entries(values).filter(([name]) => form.names.includes(name))
      if (signedIn && asked.length > 0) throw new Error(`Asked to sign in again at ${page.url.href}: ${page.body}`)
      signedIn ||= asked.length > 0
      const pressed = form.buttons.slice(0, 1).map(({ name, value }) => [name, value])
      page = await submit(form, Object.fromEntries([...pressed, ...asked]), stopAt)
    }
    if (page.status !== 0) throw new Error(`Still no answer after ${MOST_STEPS} forms, at ${page.url.href}`)
    return page.url
  }

  return { get, submit, signIn }
}

/** One request, with the cookies of its origin; the answer's cookies are kept. */
function send (
  url: URL,
  jars: Map<string, Cookie[]>,
  from: URL | undefined,
  body: URLSearchParams | undefined,
  target: RequestOptions | undefined
): Promise<IncomingMessage> {
  const jar = jars.get(url.origin) ?? []
  const cookies = jar.filter(
    ({ path }) => url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`)
  )
  const headers: Record<string, string> = {
    accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
    'sec-fetch-dest': 'document',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-site':
      from === undefined
        ? 'none'
        : from.origin === url.origin
          ? 'same-origin'
          : from.hostname === url.hostname
            ? 'same-site'
            : 'cross-site'
  }
  if (cookies.length > 0) headers['cookie'] = cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  if (body !== undefined) {
    headers['content-type'] = 'application/x-www-form-urlencoded'
    headers['origin'] = from!.origin
  }

  return new Promise((resolve, reject) => {
    const options = { ...target, method: body === undefined ? 'GET' : 'POST', headers, agent: false }
    if (target !== undefined) headers['host'] = url.host
    const req = (target === undefined ? request : tlsRequest)(url, options, (response) => {
      jars.set(url.origin, keepCookies(jars.get(url.origin) ?? [], response.headers['set-cookie'] ?? [], url))
      resolve(response)
    })
    req.on('error', reject)
    req.end(body?.toString())
  })
}

function keepCookies (jar: Cookie[], lines: string[], url: URL): Cookie[] {
  for (const line of lines) {
    const [pair, ...attributes] = line.split(';').map((part) => part.trim())
    const name = pair!.slice(0, pair!.indexOf('='))
    const value = pair!.slice(name.length + 1)
    const attribute = (wanted: string) =>
      attributes.find((part) => part.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1)
    const path = attribute('path') ?? (url.pathname.replace(/\/[^/]*$/, '') || '/')
    const maxAge = attribute('max-age')
    const gone =
      maxAge === undefined ? Date.parse(attribute('expires') ?? '9999-01-01') <= Date.now() : Number(maxAge) <= 0
    jar = jar.filter((cookie) => cookie.name !== name || cookie.path !== path)
    if (!gone) jar.push({ name, value, path })
  }
  return jar
}

function readForms (html: string, base: URL): Form[] {
  return [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gis)].map(([, tag, content]) => {
    const attributes = readAttributes(tag!)
    const form: Form = {
      action: new URL(attributes['action'] || base, base),
      method: (attributes['method'] ?? 'get').toLowerCase(),
      fields: {},
      names: [],
      buttons: []
    }
    for (const [, element, rest] of content!.matchAll(/<(input|button)\b((?:"[^"]*"|'[^']*'|[^>"'])*)>/gi)) {
      const {
        name,
        value = '',
        type = element!.toLowerCase() === 'button' ? 'submit' : 'text',
        checked
      } = readAttributes(rest!)
      if (name === undefined) continue
      if (type === 'submit') form.buttons.push({ name, value })
      else form.names.push(name)
      const unchecked = (type === 'checkbox' || type === 'radio') && checked === undefined
      if (type !== 'submit' && !unchecked) form.fields[name] = value
    }
    return form
  })
}

function readAttributes (tag: string): Record<string, string> {
  const attributes: Record<string, string> = {}
  for (const [, name, quoted, apostrophed, bare] of tag.matchAll(
    /([^\s"'=/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g
  )) {
    attributes[name!.toLowerCase()] = decodeEntities(quoted ?? apostrophed ?? bare ?? '')
  }
  return attributes
}

function decodeEntities (value: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }
  return value.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (entity, decimal, hex, name) => {
    if (name !== undefined) return named[name.toLowerCase()] ?? entity
    return String.fromCodePoint(decimal === undefined ? parseInt(hex, 16) : Number(decimal))
  })
}
