import fc from 'fast-check'
import type { Arbitrary } from 'fast-check'

/** JSON, forms and headers as a hostile or broken peer sends them: valid ones with something wrong in them. */

/** Names that have a meaning in JavaScript, and values that parsers get wrong. */
const STRINGS = [
  '', ' ', '0', '-1', 'null', 'true', '[object Object]', '__proto__', 'constructor', 'prototype', 'toString', 'length',
  'then', 'hasOwnProperty', 'valueOf', '\u0000', '\r\n', '\ud800', '\ufeff', '\u202e', '%00', '%', '../..', '//',
  'http://', 'https://[', 'javascript:alert(1)', 'file:///etc/passwd', '<script>', '"', '\\', '.', '..', '.a.b', 'a.b.c',
  '999999999999999999999', '1e400', 'a'.repeat(300), 'é'.repeat(70), '\ud83d\ude00', '2026-07-28', '2025-11-25', '2025-03-26'
]

export const oddString: Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...STRINGS) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom('a', '9', ' ', '/', '.', '%', '&', '\u2028'), fc.integer({ min: 1_000, max: 20_000 }))
      .map(([character, length]) => character.repeat(length))
  }
)

const oddNumber = fc.oneof(
  fc.constantFrom(0, -0, -1, 1, 0.5, 1e21, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 5e-324),
  fc.integer()
)

/** Any JSON value, mostly small. */
export const oddValue: Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], { toString: 1 }, { then: true }),
    oddNumber,
    oddString,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(oddString, tie('value')), { maxLength: 4 }).map(toObject)
  )
})).value

/** What is large: wide, deep or long. Few of them, as they cost the most. */
export const hugeValue: Arbitrary<unknown> = fc.oneof(
  fc.integer({ min: 10, max: 3_000 }).map((depth) => nest(depth, (inner) => [inner])),
  fc.integer({ min: 10, max: 3_000 }).map((depth) => nest(depth, (inner) => ({ a: inner }))),
  fc.tuple(fc.integer({ min: 100, max: 100_000 }), fc.constantFrom<unknown>({}, 0, null, 'a', []))
    .map(([length, item]) => Array.from({ length }, () => item)),
  fc.integer({ min: 100, max: 20_000 }).map((size) => Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, i]))),
  fc.integer({ min: 1_000, max: 500_000 }).map((length) => 'x'.repeat(length))
)

interface Mutation {
  at: number
  kind: 'replace' | 'remove' | 'add' | 'rename' | 'wrap' | 'repeat'
  name: string
  value: unknown
}

const mutation: Arbitrary<Mutation> = fc.record({
  at: fc.nat({ max: 1_000 }),
  kind: fc.constantFrom<Mutation['kind']>('replace', 'replace', 'replace', 'remove', 'add', 'rename', 'wrap', 'repeat'),
  name: oddString,
  value: fc.oneof({ weight: 20, arbitrary: oddValue }, { weight: 1, arbitrary: hugeValue })
})

/** Makes a copy of a value with up to four things wrong in it. */
export const spoiler: Arbitrary<(value: unknown) => unknown> = fc.oneof(
  { weight: 1, arbitrary: fc.constant([]) },
  { weight: 5, arbitrary: fc.tuple(mutation) },
  { weight: 2, arbitrary: fc.array(mutation, { minLength: 2, maxLength: 4 }) }
).map((mutations) => Object.assign((value: unknown) => mutations.reduce(mutate, value), {
  [fc.toStringMethod]: () => JSON.stringify(mutations)
}))

/** One of the values, with up to four things wrong in it. */
export function spoilt (values: readonly unknown[]): Arbitrary<unknown> {
  return fc.tuple(fc.constantFrom(...values), spoiler).map(([value, spoil]) => spoil(value))
}

/** A copy of the value in which one member, or the whole, is changed. */
function mutate (value: unknown, { at, kind, name, value: odd }: Mutation): unknown {
  const [root, ...places] = placesIn(value)
  // The whole is rarely changed: most of what is behind the first check would never be reached.
  const path = places.length === 0 || at % 40 === 0 ? root! : places[at % places.length]!
  return changeAt(value, path, (old) => {
    if (kind === 'replace') return odd
    if (kind === 'wrap') return [old]
    if (kind === 'repeat') return [old, old, old]
    if (typeof old !== 'object' || old === null) return odd
    if (kind === 'add') return Array.isArray(old) ? [...old, odd] : define({ ...old }, name, odd)
    const first = Object.entries(old)[at % Math.max(1, Object.keys(old).length)]
    if (first === undefined) return odd
    const rest = Object.fromEntries(Object.entries(old).filter(([key]) => key !== first[0]))
    return kind === 'remove' ? rest : define(rest, name, first[1])
  })
}

type Path = ReadonlyArray<string | number>

function placesIn (value: unknown, path: Path = [], places: Path[] = []): Path[] {
  places.push(path)
  if (path.length > 8 || places.length > 200 || typeof value !== 'object' || value === null) return places
  for (const [name, member] of Object.entries(value)) placesIn(member, [...path, name], places)
  return places
}

function changeAt (value: unknown, [name, ...rest]: Path, change: (old: unknown) => unknown): unknown {
  if (name === undefined) return change(value)
  const member = changeAt((value as Record<string, unknown>)[name], rest, change)
  if (!Array.isArray(value)) return define({ ...value as object }, String(name), member)
  return value.map((item, index) => String(index) === String(name) ? member : item)
}

/** Sets a member whatever its name, `__proto__` included. */
function define (target: object, name: string, value: unknown): object {
  return Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true })
}

function toObject (entries: ReadonlyArray<readonly [string, unknown]>): object {
  return entries.reduce((target, [name, value]) => define(target, name, value), {})
}

function nest (depth: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) value = wrap(value)
  return value
}

/** The text of these bytes, damaged: cut, doubled, or with bytes that are no UTF-8. */
export function damaged (bytes: Arbitrary<Buffer>): Arbitrary<Buffer> {
  const damage = fc.record({
    at: fc.nat({ max: 10_000 }),
    remove: fc.nat({ max: 3 }),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 4 }).map((inserted) => Buffer.from(inserted)),
      fc.constantFrom('\ufeff', '{', '}', '[', ']', '"', ',', '\\u0000', '\\ud800', '1e999', '-', '/*', '\n')
        .map((inserted) => Buffer.from(inserted))
    )
  })
  const damages = fc.array(damage, { minLength: 1, maxLength: 3 })
  return fc.tuple(bytes, damages, fc.boolean()).map(([text, damages, isCut]) => {
    const all = damages.reduce((before, { at, remove, insert }) => {
      const start = at % (before.length + 1)
      return Buffer.concat([before.subarray(0, start), insert, before.subarray(start + remove)])
    }, text)
    return isCut ? all.subarray(0, damages[0]!.at % (all.length + 1)) : all
  })
}

export const toJson = (value: unknown): Buffer => Buffer.from(JSON.stringify(value) ?? '')

/** A value as JSON text, sometimes damaged. */
export function jsonOf (values: Arbitrary<unknown>): Arbitrary<Buffer> {
  const text = values.map(toJson)
  return fc.oneof({ weight: 5, arbitrary: text }, { weight: 1, arbitrary: damaged(text) })
}

/** What a header may hold on the wire (RFC 9110 section 5.5). */
export const headerValue: Arbitrary<string> = fc.oneof(
  oddString.map((value) => value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').slice(0, 4_000)),
  fc.string({ unit: fc.constantFrom(...'\tabcZ09 ,;:="\\()<>@/[]?{}*.-_~\x80\xff'), maxLength: 60 })
)

/** A form: some of these parameters, some of them replaced, repeated or unknown. */
export function formOf (parameters: Record<string, string>): Arbitrary<Array<[string, string]>> {
  const names = Object.keys(parameters)
  const change = fc.record({
    name: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: oddString }),
    kind: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'repeat'),
    value: fc.oneof(oddString, fc.constantFrom(...Object.values(parameters)))
  })
  return fc.array(change, { maxLength: 4 }).map((changes) => changes.reduce<Array<[string, string]>>(
    (form, { name, kind, value }) => {
      if (kind === 'repeat') return [...form, [name, value]]
      const others = form.filter(([other]) => other !== name)
      return kind === 'remove' ? others : [...others, [name, value]]
    },
    Object.entries(parameters)
  ))
}

export function toQuery (form: ReadonlyArray<readonly [string, string]>): string {
  return form.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&')
}

/** As encodeURIComponent, which throws for half of a surrogate pair. */
const encode = (text: string): string => encodeURIComponent(Buffer.from(text).toString())
