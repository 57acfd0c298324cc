import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { canonicalJson } from '../json/canonical-json.ts'
import { printableJson } from '../json/printable.ts'
import { PIN_KINDS, digestOf } from './pins.ts'
import type { Pin, PinKind, Pins } from './pins.ts'

/** The file of `pin.file`, which `seed mounts accept` writes: what a person has read and accepted, with its digests. */

const PinsOfKind = Type.Record(Type.String(), Type.Object({
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }), offer: Type.Object({})
}, { additionalProperties: false }))

const PinFileSchema = Type.Object({
  mount: Type.String(), tools: PinsOfKind, prompts: PinsOfKind, resourceTemplates: PinsOfKind
}, { additionalProperties: false })

const pinFile = Compile(PinFileSchema)

const NO_PINS: Pins = { tools: new Map(), prompts: new Map(), resourceTemplates: new Map() }

/** @throws Error that says what is wrong with the file; its `code` is ENOENT if there is none */
export function readPins (file: string, mount: string): Pins {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    const problem = code === undefined ? 'is no JSON' : `cannot be read (${code})`
    throw Object.assign(new Error(`${problem}: ${WRITES_IT}`), { code })
  }
  if (!pinFile.Check(value)) throw new Error(`is no file of pins: ${WRITES_IT}`)
  if (value.mount !== mount) throw new Error(`is the file of mount "${value.mount}": each mount needs one of its own`)
  const all = PIN_KINDS.map((kind): [PinKind, Map<string, Pin>] => [kind, new Map(Object.entries(value[kind]))])
  const [changed] = all.flatMap(([kind, pins]) =>
    [...pins].filter(([, { sha256, offer }]) => digestOf(offer) !== sha256).map(([name]) => `${kind} ${name}`))
  if (changed !== undefined) throw new Error(`was edited by hand (${changed} has another digest): ${WRITES_IT}`)
  return Object.fromEntries(all) as Record<PinKind, Map<string, Pin>>
}

const WRITES_IT = 'seed mounts accept writes it'

/** Returns no pins if there is no file yet. @throws Error as readPins does */
export function readPinsIfAny (file: string, mount: string): Pins {
  try {
    return readPins(file, mount)
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return NO_PINS
    throw err
  }
}

/** Replaces the file at once: a reader finds the old or the new one. @throws Error if the folder cannot be written */
export function writePins (file: string, mount: string, pins: Pins): void {
  const kinds = PIN_KINDS.map((kind) => [kind, Object.fromEntries(pins[kind])])
  // In a fixed order, so that the differences of two versions of the file are those of the offers.
  const sorted: unknown = JSON.parse(canonicalJson({ mount, ...Object.fromEntries(kinds) }))
  const temporary = `${file}.${process.pid}.tmp`
  try {
    writeFileSync(temporary, `${printableJson(sorted, 2)}\n`, { flag: 'wx' })
    renameSync(temporary, file)
  } catch (err) {
    rmSync(temporary, { force: true })
    throw err
  }
}
