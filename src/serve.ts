import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import type { AppOptions } from './app.ts'
import type { Environment } from './config/load.ts'
import { listen } from './listen.ts'
import { loadDefinitions } from './definitions.ts'
import { IDLE_MS } from './http/shutdown.ts'

/**
 * The whole life of the process: environment in, listening server out, orderly end on a signal. What keeps it from
 * starting is printed, and the exit code says so.
 */
export async function serve (environment: Environment, dotenvPath: string | false, options: AppOptions = {}): Promise<void> {
  try {
    const app = await buildApp(environment, { dotenvPath, definitions: loadDefinitions, ...options })
    const { config } = app
    const port = await listen(app)
    // The delay is the last resort, should closing hang; a second signal ends at once.
    const delay = (config.shutdown.delaySeconds + config.shutdown.graceSeconds + 5) * 1_000 + IDLE_MS
    closeWithGrace({ delay, logger: false }, async ({ err, signal }) => {
      if (err !== undefined) {
        app.log.fatal({ err }, 'An unexpected error ends the server')
      } else {
        app.log.info({ signal }, 'Shutting down: readiness is off, no new connections, streams end, calls finish')
        await app.shutdown.drain()
      }
      await app.close()
    })
    if (!config.authRequired) app.log.warn({ host: config.host }, 'AUTH_REQUIRED=false: whoever reaches this address may call every tool that has no policy, without signing in')
    app.log.info({ mcp: config.resource, port }, 'Seed is ready for MCP clients')
  } catch (err) {
    console.error((err as Error).message)
    process.exitCode = 1
  }
}
