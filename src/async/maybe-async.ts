/** A result that is often available without waiting. */
export type MaybePromise<T> = T | Promise<T>

export function isPromise (value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/**
 * Maps the result of `work`, synchronously when it is not a promise. Most handlers return at once, and every promise
 * that a call does without makes it faster.
 *
 * @param onError receives what `work` throws or rejects with, but not what `onResult` throws
 */
export function mapMaybe<T, Result> (
  work: () => MaybePromise<T>,
  onResult: (result: T) => MaybePromise<Result>,
  onError: (err: unknown) => MaybePromise<Result>
): MaybePromise<Result> {
  let result: MaybePromise<T>
  try {
    result = work()
  } catch (err) {
    return onError(err)
  }
  return isPromise(result) ? Promise.resolve(result).then(onResult, onError) : onResult(result)
}
