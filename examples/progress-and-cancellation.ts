import { setTimeout as sleep } from 'node:timers/promises'
import { ToolError, Type, defineTool } from 'seed-mcp-server'

/**
 * Runs for a while, reports its progress, and stops when the client cancels or disconnects, or the time is up. The
 * handler is a generator that yields its progress, and passes the signal to everything that waits.
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
        await sleep(10, undefined, { signal })
        imported = Math.min(rows, imported + 100)
        yield { progress: imported, total: rows, message: `${imported} of ${rows} rows` }
      }
    } finally {
      // This runs after a cancellation as well: the place to roll back.
      log.info({ imported, complete: imported === rows }, 'The import has ended')
    }
    return { imported }
  }
})
