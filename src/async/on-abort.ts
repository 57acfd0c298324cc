/**
 * Calls the listener once the signal is aborted, at once if it is already.
 *
 * @returns removes the listener
 */
export function onAbort (signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) listener()
  else signal.addEventListener('abort', listener, { once: true })
  return () => { signal.removeEventListener('abort', listener) }
}
