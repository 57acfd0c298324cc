/**
 * Makes `process.exit` throw instead of ending the process, so that an extension fails where it calls it: while it is
 * loaded, or in a handler.
 *
 * @returns a function that allows `process.exit` again
 */
export function forbidExit (): () => void {
  const { exit } = process
  process.exit = () => {
    throw new Error('process.exit() was called: an extension must not end the server')
  }
  return () => { process.exit = exit }
}
