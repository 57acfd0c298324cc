import { escapeHtml, renderPage } from './layout.ts'

export { CONSENT_HEADERS, renderConsentPage } from './consent.ts'
export type { ConsentPage } from './consent.ts'
export { escapeHtml, PAGE_HEADERS } from './layout.ts'

/** What went wrong, for a person in a browser. All of it is plain text. */
export interface ErrorPage {
  title: string
  /** One sentence: what happened. */
  sentence: string
  /** One sentence: what to do now. */
  advice: string
  /** More of what happened, a sentence each. */
  details?: string[] | undefined
  /** Where to go now, such as the application's redirect URI with the error; shown as a button. The caller vouches for its scheme. */
  link?: { href: string, text: string } | undefined
  /** The id under which the log holds the reason. */
  reference: string
}

export function renderErrorPage ({ title, sentence, advice, details = [], link, reference }: ErrorPage): string {
  const parts = [
    `<h1>${escapeHtml(title)}</h1>`,
    `<p>${escapeHtml(sentence)}</p>`,
    details.length > 0 && `<ul role="list">\n${details.map((detail) => `<li>${escapeHtml(detail)}</li>`).join('\n')}\n</ul>`,
    `<p>${escapeHtml(advice)}</p>`,
    link && `<p><a class="button primary" href="${escapeHtml(link.href)}" rel="noreferrer">${escapeHtml(link.text)}</a></p>`,
    `<p><small>Reference <code>${escapeHtml(reference)}</code></small></p>`
  ]
  return renderPage(title, parts.filter(Boolean).join('\n'))
}
