import { createHash } from 'node:crypto'

/** Pages for a person in a browser: no script, nothing from elsewhere, not to be framed, stored or indexed. */
export interface ErrorPage {
  title: string
  /** One sentence: what happened. */
  sentence: string
  /** One sentence: what to do now. */
  advice: string
  /** The id under which the log holds the reason. */
  reference: string
}

const STYLE = 'body{margin:0;font:16px/1.5 system-ui,sans-serif;color:#1c2430;background:#f4f5f7}' +
  'main{max-width:32rem;margin:12vh auto 0;padding:2rem;background:#fff;border-radius:.75rem;box-shadow:0 1px 4px #0002}' +
  'h1{margin:0 0 1rem;font-size:1.4rem}p{margin:0 0 1rem}small{color:#5b6573}code{font-size:.95em}' +
  '@media(max-width:36rem){main{margin:0;min-height:100vh;border-radius:0;box-sizing:border-box}}'

/** For every HTML answer. The hash admits the one style sheet above and nothing else. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store'
}

export function renderErrorPage ({ title, sentence, advice, reference }: ErrorPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(sentence)}</p>
<p>${escapeHtml(advice)}</p>
<p><small>Reference <code>${escapeHtml(reference)}</code></small></p>
</main>
</body>
</html>
`
}

export function escapeHtml (text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
