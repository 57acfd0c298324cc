import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { canonicalJson } from '../../json/canonical-json.ts'
import { AnyName } from '../../json/member-names.ts'
import { printableJson } from '../../json/printable.ts'
import { PIN_KINDS, digestOf } from './pins.ts'
import type { Pin, PinKind, Pins } from './pins.ts'

/** The file of `pin.file`, which `seed mounts accept` writes: what a person has read and accepted, with its digests. */

const PinsOfKind = Type.Record(AnyName, Type.Object({
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }), offer: Type.Object({})
}, { additionalProperties: false }))

const PinFileSchema = Type.Object({
  mount: Type.String(),
  tools: PinsOfKind,
  prompts: PinsOfKind,
  resources: Type.Optional(PinsOfKind),
  resourceTemplates: PinsOfKind
}, { additionalProperties: false })

const pinFile = Compile(PinFileSchema)

const NO_PINS: Pins = { tools: new Map(), prompts: new Map(), resources: new Map(), resourceTemplates: new Map() }

/** A file that is not there or is of no use; `seed mounts accept` writes a new one. */
class UselessPinsError extends Error {
  /** What to tell people before the file is replaced; undefined if there is none. */
  readonly problem: string | undefined

  constructor (problem: string, isMissing = false) {
    super(`${problem}: seed mounts accept writes it`)
    this.problem = isMissing ? undefined : problem
  }
}

/** @throws Error that says what is wrong with the file */
export function readPins (file: string, mount: string): Pins {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    if (code === undefined) throw new UselessPinsError('is no JSON')
    const problem = `cannot be read (${code})`
    throw code === 'ENOENT' ? new UselessPinsError(problem, true) : new Error(problem)
  }
  if (!pinFile.Check(value)) throw new UselessPinsError('is no file of pins')
  if (value.mount !== mount) throw new Error(`is the file of mount "${value.mount}": each mount needs one of its own`)
  const all = PIN_KINDS.map((kind): [PinKind, Map<string, Pin>] => [kind, new Map(Object.entries(value[kind] ?? {}))])
  const [changed] = all.flatMap(([kind, pins]) =>
    [...pins].filter(([, { sha256, offer }]) => digestOf(offer) !== sha256).map(([name]) => `${kind} ${name}`))
  if (changed !== undefined) throw new UselessPinsError(`was edited by hand (${changed} has another digest)`)
  return Object.fromEntries(all) as Record<PinKind, Map<string, Pin>>
}

/**
 * Returns no pins if there is no file yet, or if it is damaged or was edited by hand: nothing in it counts as accepted.
 *
 * @param onProblem called with what is wrong with a file that is there
 * @throws Error if the file cannot be read, or is that of another mount
 */
export function readUsablePins (file: string, mount: string, onProblem: (problem: string) => void): Pins {
  try {
    return readPins(file, mount)
  } catch (err) {
    if (!(err instanceof UselessPinsError)) throw err
    if (err.problem !== undefined) onProblem(`${file} ${err.problem}`)
    return NO_PINS
  }
}

/** Replaces the file at once: a reader finds the old or the new one. @throws Error if the folder cannot be written */
export function writePins (file: string, mount: string, pins: Pins): void {
  const kinds = PIN_KINDS.filter((kind) => kind !== 'resources' || pins.resources.size > 0).map((kind) =>
    [kind, Object.fromEntries([...pins[kind]].map(([name, { sha256, offer }]) => [name, { sha256, offer }]))])
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
