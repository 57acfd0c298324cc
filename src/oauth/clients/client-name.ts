/** Removes control, format and line-separator characters: a client's name is shown to people and logged. */
export function stripControlCharacters (name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '').trim()
}
