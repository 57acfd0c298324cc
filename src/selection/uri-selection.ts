import type { Selection } from '../config/selection-schema.ts'
import { matchesPattern } from './name-selection.ts'

/**
 * Tells whether the operator offers a URI that a client reads through a template. The template's own text says nothing
 * about it: `file:///{+path}` also leads to what `deny: [file:///secret/*]` excludes.
 *
 * Servers read one URI in several ways, so each spelling counts: none may be denied, and all must be allowed. An
 * `allow` with a brace names a template, and allows all URIs of it.
 *
 * @param uri the URI, as the mounted server knows it
 */
export function isUriSelected (uri: string, uriTemplate: string, selection: Selection = true): boolean {
  if (typeof selection === 'boolean') return selection
  const { allow, deny = [] } = selection
  if (allow === undefined && deny.length === 0) return true
  const spellings = spellingsOf(uri)
  if (spellings === undefined) return false
  const lowerCase = [...spellings, ...spellings.map(withoutTail)].map((spelling) => spelling.toLowerCase())
  const denied = withDecoded(deny).map((pattern) => pattern.toLowerCase())
  if (lowerCase.some((spelling) => denied.some((pattern) => matchesPattern(spelling, pattern)))) return false
  if (allow === undefined) return true
  if (allow.some((pattern) => pattern.includes('{') && matchesPattern(uriTemplate, pattern))) return true
  const allowed = withDecoded(allow)
  return spellings.every((spelling) => allowed.some((pattern) => matchesPattern(spelling, pattern)))
}

function withDecoded (patterns: readonly string[]): string[] {
  return patterns.flatMap((pattern) => [pattern, decode(pattern) ?? pattern])
}

const MAX_DECODINGS = 4

/** Segments of a path that lead elsewhere (RFC 3986 section 5.2.4). */
const DOT_SEGMENT = /(?:^|[/\\:])\.{1,2}(?:[/\\?#;]|$)/

/** Returns the spellings of a URI; undefined if it is so unusual that nobody can tell where it leads. */
function spellingsOf (uri: string): string[] | undefined {
  const spellings = new Set([uri])
  let decoded = uri
  for (let count = 0; ; count++) {
    const next = decode(decoded)
    if (next === undefined || count === MAX_DECODINGS) return undefined
    if (next === decoded) break
    decoded = next
    spellings.add(decoded)
  }
  if (DOT_SEGMENT.test(decoded)) return undefined
  for (const spelling of [...spellings]) {
    if (!URL.canParse(spelling)) return undefined
    for (const prefix of prefixesOf(spelling)) {
      const parsed = new URL(spelling.slice(prefix.length))
      parsed.username = parsed.password = ''
      spellings.add(prefix + parsed.href).add(prefix + decodeURIComponent(parsed.href))
    }
  }
  for (const spelling of [...spellings]) spellings.add(withSingleSlashes(spelling))
  return [...spellings]
}

/**
 * Returns the beginnings of a URI after which another URI may begin, as mounts put their names before a scheme
 * (`web+https://…`): host and port are read as the scheme behind the name wants it.
 */
function prefixesOf (uri: string): string[] {
  const scheme = uri.slice(0, uri.indexOf(':'))
  const ends = [...scheme.matchAll(/\+/g)].map(({ index }) => index + 1)
  return ['', ...ends.map((end) => uri.slice(0, end))].filter((prefix) => URL.canParse(uri.slice(prefix.length)))
}

function decode (uri: string): string | undefined {
  try {
    return decodeURIComponent(uri).normalize('NFKC')
  } catch {
    return undefined
  }
}

/** Returns a URI without repeated slashes in its path, which file systems take for one. */
function withSingleSlashes (uri: string): string {
  const scheme = uri.slice(0, uri.indexOf(':') + 1)
  const slashes = uri.startsWith(`${scheme}///`) ? '///' : uri.startsWith(`${scheme}//`) ? '//' : ''
  return scheme + slashes + uri.slice(scheme.length).replace(/^\/+/, '').replace(/[/\\]+/g, '/')
}

/** Returns a URI without query, fragment, and slashes at its end. */
function withoutTail (uri: string): string {
  return uri.replace(/[?#].*$/s, '').replace(/\/$/, '')
}
