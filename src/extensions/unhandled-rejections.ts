/**
 * Logs promises that nobody handles when they are rejected, instead of letting them end the process: a tool that does
 * not await a promise must not end the calls of everyone else.
 *
 * @param namesInStack names the definitions whose files are in the stack of what was thrown
 */
export function logUnhandledRejections (
  log: { error (fields: object, message: string): void }, namesInStack: (thrown: unknown) => string[]
): void {
  process.on('unhandledRejection', (err) => {
    log.error({ event: 'process.unhandled_rejection', err, definitions: namesInStack(err) },
      'A promise was rejected and nothing handled it; the server ' +
      'continues. The code that made the promise must await it or catch its error')
  })
}
