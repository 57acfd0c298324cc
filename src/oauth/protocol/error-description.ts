/**
 * Reduces text to what `error_description` may contain (RFC 6749 section 5.2, RFC 6750 section 3): printable ASCII
 * without `"` and `\`. Settings such as ACCESS_CONTACT may have more; pages show them whole.
 */
export function toDescription (text: string): string {
  return text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/["\\\u2018-\u201f]/g, "'")
    .replace(/[^\x20-\x7e]/gu, '?')
}
