import { createLogOutput } from '../src/logging/output.ts'

/** The output of the log of `npm run dev`: JSON as in the server, or text for a person at a terminal. */
export async function createDevelopmentLog (
  stdout: { isTTY?: boolean, write (text: string): unknown }
): Promise<{ write (line: string): unknown }> {
  if (stdout.isTTY !== true) return createLogOutput()
  const { prettyFactory } = await import('pino-pretty')
  const toText = prettyFactory({
    colorize: true, singleLine: true, translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname'
  })
  return { write: (line) => stdout.write(toText(line)) }
}
