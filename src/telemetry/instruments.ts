/**
 * Counters, histograms and gauges. A series is found by the values of its labels, which are strings from small sets; an
 * instrument has a limited number of series, and what comes beyond it is counted under the label of the overflow
 * (OpenTelemetry, metrics SDK, cardinality limits).
 */

export type Labels = Readonly<Record<string, string>>

export interface Description {
  /** The name in OpenTelemetry's form, with dots. */
  name: string
  description: string
  /** UCUM: `s`, `By`, `{request}`. */
  unit: string
}

const MAX_SERIES = 2_000
const OVERFLOW: Labels = { 'otel.metric.overflow': 'true' }

/** A map for each label: joining the values into one key would cost more than all lookups. */
type Branch<T> = Map<string | undefined, Branch<T> | T>

/** Series of an instrument by the values of their labels. A value that is undefined leaves its label out. */
class SeriesTable<T extends object> {
  readonly all: Array<{ labels: Labels, data: T }> = []
  readonly #root: Branch<T> = new Map()
  readonly #names: readonly string[]
  readonly #create: () => T
  #overflow: T | undefined
  #last: { values: ReadonlyArray<string | undefined>, data: T } | undefined

  constructor (names: readonly string[], create: () => T) {
    this.#names = names
    this.#create = create
  }

  find (values: ReadonlyArray<string | undefined>): T {
    // Most measurements have the labels of the one before.
    const last = this.#last
    if (last !== undefined && isSame(values, last.values)) return last.data
    const data = this.#search(values)
    this.#last = { values, data }
    return data
  }

  #search (values: ReadonlyArray<string | undefined>): T {
    let found: Branch<T> | T | undefined = this.#root
    for (const value of values) {
      found = (found as Branch<T>).get(value)
      if (found === undefined) return this.#add(values)
    }
    return found as T
  }

  #add (values: ReadonlyArray<string | undefined>): T {
    if (this.all.length >= MAX_SERIES) {
      this.#overflow ??= this.#append(OVERFLOW)
      return this.#overflow
    }
    const labels: Record<string, string> = {}
    for (const [index, name] of this.#names.entries()) {
      const value = values[index]
      if (value !== undefined) labels[name] = value
    }
    const data = this.#append(labels)
    let branch = this.#root
    for (const value of values.slice(0, -1)) {
      const next = branch.get(value) as Branch<T> | undefined ?? new Map<string | undefined, Branch<T> | T>()
      branch.set(value, next)
      branch = next
    }
    branch.set(values.at(-1), data)
    return data
  }

  #append (labels: Labels): T {
    const data = this.#create()
    this.all.push({ labels, data })
    return data
  }
}

function isSame (some: ReadonlyArray<string | undefined>, others: ReadonlyArray<string | undefined>): boolean {
  for (let index = 0; index < some.length; index++) if (some[index] !== others[index]) return false
  return true
}

/** The values of an instrument without labels: one, which is left out. */
const NO_VALUES = [undefined]

export class Counter {
  readonly kind = 'counter'
  readonly about: Description
  readonly #series: SeriesTable<{ value: number }>

  /** @param labels their names */
  constructor (about: Description, labels: readonly string[] = []) {
    this.about = about
    this.#series = new SeriesTable(labels, () => ({ value: 0 }))
    if (labels.length === 0) this.add(NO_VALUES, 0)
  }

  get series () { return this.#series.all }

  /** @param values of the labels, in their order */
  add (values: ReadonlyArray<string | undefined> = NO_VALUES, amount = 1): void {
    this.#series.find(values).value += amount
  }
}

export interface Distribution {
  count: number
  sum: number
  /** One more than there are bounds: the last is for what is beyond them. */
  counts: number[]
}

/** Seconds: the bounds that the semantic conventions of HTTP and MCP advise. */
export const DURATION_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
export const MCP_DURATION_BOUNDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]

export class Histogram {
  readonly kind = 'histogram'
  readonly about: Description
  readonly bounds: readonly number[]
  readonly #series: SeriesTable<Distribution>

  constructor (about: Description, labels: readonly string[], bounds: readonly number[] = DURATION_BOUNDS) {
    this.about = about
    this.bounds = bounds
    this.#series = new SeriesTable(labels, () => (
      { count: 0, sum: 0, counts: new Array<number>(bounds.length + 1).fill(0) }
    ))
  }

  get series () { return this.#series.all }

  record (values: ReadonlyArray<string | undefined>, value: number): void {
    const distribution = this.#series.find(values)
    // Most values are in the first buckets.
    let bucket = 0
    while (bucket < this.bounds.length && value > this.bounds[bucket]!) bucket++
    distribution.counts[bucket]!++
    distribution.count++
    distribution.sum += value
  }
}

/** The value of a series; undefined while there is none. */
export type Reading = number | undefined

export interface ReadableValue {
  about: Description
  labels?: Labels
  read: () => Reading | Promise<Reading>
  /** The value only ever grows, as a counter's. */
  isMonotonic?: boolean
}

/** A value that is read when it is asked for. */
export class Gauge {
  readonly kind = 'gauge'
  readonly about: Description
  readonly isMonotonic: boolean
  readonly #value: ReadableValue

  constructor (value: ReadableValue) {
    this.about = value.about
    this.isMonotonic = value.isMonotonic ?? false
    this.#value = value
  }

  /** Leaves out what cannot be read. */
  async readSeries (): Promise<Array<{ labels: Labels, data: { value: number } }>> {
    const value = await this.#value.read()
    return value === undefined ? [] : [{ labels: this.#value.labels ?? {}, data: { value } }]
  }
}

export type Instrument = Counter | Histogram | Gauge
