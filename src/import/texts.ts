/** Tags of HTML in descriptions, which no model needs. */
const TAG = /<\/?[a-z][^<>]{0,300}>/gi

/**
 * Makes one line of a text from a description: without markup of HTML and control characters, and not longer than
 * `max` characters.
 */
export function cleanText (text: unknown, max: number): string {
  if (typeof text !== 'string') return ''
  const line = text.slice(0, 20 * max).replace(TAG, ' ').replace(/[\p{C}\s]+/gu, ' ').trim()
  if (line.length <= max) return line
  const cut = line.slice(0, max - 1)
  const end = cut.lastIndexOf(' ')
  return `${cut.slice(0, end > max / 2 ? end : undefined).replace(/[\ud800-\udbff]$/, '')}…`
}
