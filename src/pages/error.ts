import { escapeHtml, isolateText, renderPage } from './layout.ts'

/** An error, explained to a person in a browser. All members are plain text. */
export interface ErrorPage {
  title: string
  /** One sentence about the error. */
  sentence: string
  /** One sentence about what to do next. */
  advice: string
  /** A button, such as the way back to the application. The caller has checked the scheme of `href`. */
  link?: { href: string, text: string } | undefined
  /** SERVER_TITLE */
  serverTitle?: string | undefined
  /** The request id, under which the log has the reason. */
  reference: string
}

export function renderErrorPage ({ title, sentence, advice, link, serverTitle, reference }: ErrorPage): string {
  const server = serverTitle === undefined ? '' : `On the server ${isolateText(serverTitle)}. `
  const parts = [
    `<h1>${escapeHtml(title)}</h1>`,
    `<p>${escapeHtml(sentence)}</p>`,
    `<p>${escapeHtml(advice)}</p>`,
    ...(link === undefined ? [] : [renderLink(link)]),
    `<p><small>${server}Reference <code>${escapeHtml(reference)}</code></small></p>`
  ]
  return renderPage(title, parts.join('\n'))
}

function renderLink ({ href, text }: { href: string, text: string }): string {
  return `<p><a class="button primary" href="${escapeHtml(href)}" rel="noreferrer">${escapeHtml(text)}</a></p>`
}
