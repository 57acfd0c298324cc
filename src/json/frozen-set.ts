/** A Set that cannot be changed, even by code that ignores the type ReadonlySet. */
export class FrozenSet<T> extends Set<T> {
  constructor (items: Iterable<T>) {
    super()
    for (const item of items) super.add(item)
  }

  override add (): never { throw new TypeError('A frozen set cannot be changed') }
  override delete (): never { throw new TypeError('A frozen set cannot be changed') }
  override clear (): never { throw new TypeError('A frozen set cannot be changed') }
}
