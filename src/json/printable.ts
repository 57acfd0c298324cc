/**
 * Returns the JSON of a value for a terminal. JSON.stringify leaves DEL, the C1 controls, and marks that turn the
 * direction of text as they are; here they are escaped, too (RFC 8259 section 7).
 */
export function printableJson (value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(/(?!\n)\p{C}/gu, (character) =>
    character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`))
}

/** Replaces control characters of text from outside, line breaks included, so that it cannot write to a terminal. */
export function withoutControls (text: string): string {
  return text.replace(/\p{C}/gu, '\u{fffd}')
}
