/** Random text of 32 or more characters has more, in base64 and in hexadecimal. */
const MIN_DISTINCT = 8

const PLACEHOLDER = /change.?(me|this|it)|replace.?(me|this|it)|placeholder|insert.?here|your.{0,20}secret|password/i

/**
 * Returns why a secret can be guessed; undefined for one that looks random. Whoever has a token and the public keys can
 * try guesses offline.
 */
export function weaknessOf (secret: string): string | undefined {
  if (PLACEHOLDER.test(secret)) return 'it looks like a placeholder'
  const characters = [...secret]
  if (new Set(characters).size < MIN_DISTINCT) return 'it has only a few different characters'
  if (repeats(secret)) return 'it repeats itself'
  const successors = characters.filter((character, index) => {
    const step = character.codePointAt(0)! - (characters[index - 1]?.codePointAt(0) ?? Infinity)
    return Math.abs(step) <= 1
  })
  if (successors.length > characters.length / 2) return 'its characters follow one another in order'
}

/** Returns true if the text is a shorter one, at least twice. */
function repeats (text: string): boolean {
  // The last repetition may be cut off.
  for (let length = 1; length <= text.length / 2; length++) {
    if (text.startsWith(text.slice(length))) return true
  }
  return false
}
