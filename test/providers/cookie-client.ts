export type CookieClient = ReturnType<typeof createCookieClient>

type Init = Omit<RequestInit, 'headers'> & { headers?: Record<string, string> }

/** Calls the JSON interface of a provider, and keeps its cookies. @param api the URL that paths are below */
export function createCookieClient (api: string) {
  const cookies = new Map<string, string>()

  async function request (url: string | URL, init: Init = {}): Promise<Response> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(url, { redirect: 'manual', ...init, headers: { ...init.headers, cookie } })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
      cookies.set(name!, value!)
    }
    return answer
  }

  return {
    /** @returns the JSON of the answer, if it has any @throws Error when the provider refuses */
    async send (method: string, path: string, body?: object): Promise<unknown> {
      const answer = await request(`${api}${path}`, {
        method,
        ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
      return text === '' ? undefined : JSON.parse(text)
    },

    /** Opens a page that redirects. @returns where to */
    async redirect (url: URL): Promise<URL> {
      const answer = await request(url)
      const location = answer.headers.get('location')
      if (location === null) throw new Error(`${url.href}: ${answer.status} ${await answer.text()}`)
      return new URL(location, url)
    }
  }
}
