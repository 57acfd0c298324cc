/** What may be there at once. */
export type MaybePromise<T> = T | Promise<T>

export function isPromise (value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/**
 * Goes on with what work gives: at once, where it gives no promise. Most handlers are done at once, and each promise and
 * turn of the microtask queue that a call does without is time.
 *
 * @param onError for what work throws or rejects with; not for what `onResult` throws
 */
export function mapMaybe<T, Result> (work: () => MaybePromise<T>, onResult: (result: T) => Result, onError: (err: unknown) => Result): MaybePromise<Result> {
  let result: MaybePromise<T>
  try {
    result = work()
  } catch (err) {
    return onError(err)
  }
  return isPromise(result) ? Promise.resolve(result).then(onResult, onError) : onResult(result)
}
