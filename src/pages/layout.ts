import { STYLE_SHEET, STYLE_SOURCE } from './style-sheet.ts'

/**
 * The parts of every page that people see: headers, HTML frame, and how text gets into HTML. Pages have no script,
 * load nothing, and must not be framed or stored.
 */

/**
 * The headers of every page without a form. There is no Cross-Origin-Opener-Policy: a web client that opens the sign-in
 * in a popup learns that it finished through `window.opener`, which that header would sever.
 */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': contentSecurityPolicy("form-action 'none'"),
  'x-frame-options': 'DENY',
  'cache-control': 'no-store'
}

/**
 * The headers of a page with a form: the policy has no `form-action`. Browsers also apply it to the redirects that
 * follow the form, and these lead to the provider and to clients on hosts that cannot be listed here.
 */
export const FORM_PAGE_HEADERS = { ...PAGE_HEADERS, 'content-security-policy': contentSecurityPolicy() }

/**
 * The headers of the page with a person's connections. Its forms lead to this server only. They are sent with `Origin`,
 * which browsers hide where the referrer policy is `no-referrer`; other sites still learn nothing.
 */
export const CONNECTIONS_PAGE_HEADERS = {
  ...PAGE_HEADERS,
  'content-security-policy': contentSecurityPolicy("form-action 'self'"),
  'referrer-policy': 'same-origin'
}

/** The headers of a page with a form that begins a sign-in: it leads to the provider. */
export const CONNECTIONS_SIGN_IN_PAGE_HEADERS = { ...FORM_PAGE_HEADERS, 'referrer-policy': 'same-origin' }

/** The headers of the page at `/`: it says the same to everyone for a minute, and shows this server's icon. */
export const HOME_PAGE_HEADERS = {
  ...PAGE_HEADERS,
  'content-security-policy': contentSecurityPolicy("img-src 'self'", "form-action 'none'"),
  'cache-control': 'public, max-age=60'
}

function contentSecurityPolicy (...directives: string[]): string {
  return ["default-src 'none'", `style-src ${STYLE_SOURCE}`, "base-uri 'none'", ...directives, "frame-ancestors 'none'"]
    .join('; ')
}

/** @param title plain text @param main HTML */
export function renderPage (title: string, main: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${STYLE_SHEET}</style>
</head>
<body>
<main>
${main}
</main>
</body>
</html>
`
}

export function escapeHtml (text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}

/**
 * Reduces untrusted text to one line of visible characters: removes control and format characters (which can reverse
 * the text that follows), invisible characters, and stacks of combining marks.
 */
export function sanitizeText (text: string): string {
  return text.normalize('NFC')
    .replace(/\s+/gu, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu, '')
    .replace(/(\p{M}{3})\p{M}+/gu, '$1')
    .trim()
}

const MAX_NAME_LENGTH = 100

/** Shortens a name to 100 characters, between code points, so that no half of a surrogate pair is left. */
export function shortenText (name: string): string {
  const characters = [...name]
  return characters.length > MAX_NAME_LENGTH ? `${characters.slice(0, MAX_NAME_LENGTH - 1).join('')}…` : name
}

/** Returns HTML for untrusted text: sanitized, escaped, and isolated, so that it cannot reverse the text around it. */
export function isolateText (text: string): string {
  return `<bdi>${escapeHtml(sanitizeText(text))}</bdi>`
}
