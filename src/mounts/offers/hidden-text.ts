import { MAX_DEPTH } from '../../json/depth.ts'

/**
 * Characters that a person does not see and a model reads: control characters, marks that turn the direction of text,
 * the tags block and the supplementary variation selectors of Unicode, and spaces without a width. Joiners and other
 * variation selectors belong to scripts and emoji: only several in a row hide something.
 */
const HIDDEN = new RegExp([
  '(?![\\n\\t])[\\p{Cc}\\p{Co}\\u200B\\u202A-\\u202E\\u2060-\\u2069\\uFEFF\\u{E0000}-\\u{E0FFF}]',
  '(?:\\u200C|\\u200D|[\\uFE00-\\uFE0F]){3,}'
].join('|'), 'gu')

export function withoutHiddenText<Text extends string | undefined> (text: Text): Text {
  return text?.replace(HIDDEN, '') as Text
}

/** Returns a JSON schema, or annotations, whose titles and descriptions hide nothing. Other text is for programs. */
export function withoutHiddenTexts<Value> (value: Value, depth = 0): Value {
  // What is deeper is not offered.
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return value
  if (Array.isArray(value)) return value.map((item: unknown) => withoutHiddenTexts(item, depth + 1)) as Value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [
    name,
    (name === 'title' || name === 'description') && typeof member === 'string'
      ? withoutHiddenText(member)
      : withoutHiddenTexts(member, depth + 1)
  ])) as Value
}
