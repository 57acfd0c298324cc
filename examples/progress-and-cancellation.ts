import { setTimeout as pause } from 'node:timers/promises'
import { ToolError, Type, defineTool } from 'seed-mcp-server'

/**
 * Takes its time, tells how far it is, and stops when the client cancels, goes away, or the time is up: a generator
 * yields its progress, and everything that waits is given the signal.
 */
export const importRows = defineTool({
  name: 'import_rows',
  title: 'Import rows',
  description: 'Imports rows in batches of 100.',
  input: Type.Object({ rows: Type.Integer({ minimum: 0, maximum: 100_000 }) }, { additionalProperties: false }),
  output: Type.Object({ imported: Type.Integer() }),
  timeoutSeconds: 300,
  async * handler ({ rows }, { signal, log }) {
    if (rows === 13) throw new ToolError('13 rows bring bad luck')
    let imported = 0
    try {
      while (imported < rows) {
        await pause(10, undefined, { signal })
        imported = Math.min(rows, imported + 100)
        yield { progress: imported, total: rows, message: `${imported} of ${rows} rows` }
      }
    } finally {
      // Also when the client has cancelled: the place to roll back.
      log.info({ imported, complete: imported === rows }, 'The import has ended')
    }
    return { imported }
  }
})
