import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import type { AppOptions } from './app.ts'
import type { Environment } from './config/load.ts'
import { createDefinitionLoader } from './definitions.ts'
import { forbidExit } from './extensions/forbid-exit.ts'
import { logUnhandledRejections } from './extensions/unhandled-rejections.ts'
import { IDLE_MS } from './http/shutdown.ts'
import { listen } from './listen.ts'
import { createLogOutput } from './logging/output.ts'
import { printStartFailure } from './logging/start-failure.ts'
import { endWithoutTerminal } from './vanished-terminal.ts'

/** Maximum time that the end of the process waits for a slow reader of its log. */
const LOG_DRAIN_MS = 1_000
/** Time for a process that cannot start to end by itself. */
const EXIT_DELAY_MS = 1_000

/**
 * Runs the server from environment to exit: starts it, listens, and shuts down gracefully on a signal. What prevents
 * the start is printed, and the exit code is 1.
 *
 * @returns whether it listens
 */
export async function serve (
  environment: Environment, dotenvPath: string | false, options: AppOptions = {}
): Promise<boolean> {
  const definitions = createDefinitionLoader()
  const allowExit = forbidExit()
  try {
    const logOutput = createLogOutput()
    // After the log, which writes its last lines at exit.
    endWithoutTerminal()
    const app = await buildApp(environment, {
      dotenvPath, logStream: logOutput, definitions: definitions.load, mounts: definitions.mounts, ...options
    })
    const { config } = app
    const port = await listen(app)
    // The delay is the last resort, should closing hang; a second signal ends the process at once.
    const delay = (config.shutdown.delaySeconds + config.shutdown.graceSeconds + 5) * 1_000 + IDLE_MS + LOG_DRAIN_MS
    logUnhandledRejections(app.log, definitions.namesInStack)
    // SIGHUP makes the audit log open its file anew. Without a file it ends the server, as it ends most programs.
    const hangUp = ['off', 'stdout'].includes(config.audit.target) ? [] : ['SIGHUP' as const]
    closeWithGrace({ delay, logger: false, skip: ['unhandledRejection', ...hangUp] }, async ({ err, signal }) => {
      allowExit()
      if (err !== undefined) {
        app.log.fatal({ event: 'server.crashed', err, definitions: definitions.namesInStack(err) },
          'An unexpected error ends the server')
      } else {
        app.log.info({ event: 'server.stopping', signal },
          'Shutting down: readiness is off, no new connections, streams end, calls finish')
        await app.shutdown.drain()
      }
      await app.close()
      await logOutput.drained(LOG_DRAIN_MS)
    })
    if (!config.authRequired) {
      app.log.warn({ event: 'server.open_access', host: config.host },
        'AUTH_REQUIRED=false: anyone who reaches this address may call every tool ' +
        'that has no policy, without signing in')
    }
    app.log.info({ event: 'server.ready', mcp: config.resource, port }, 'Seed is ready for MCP clients')
    return true
  } catch (err) {
    printStartFailure(definitions.addFile(err) as Error, {
      isTerminal: process.stdout.isTTY,
      print: console.log,
      printError: console.error
    })
    allowExit()
    process.exitCode = 1
    // An extension may have started something that keeps the process running.
    setTimeout(() => { process.exit() }, EXIT_DELAY_MS).unref()
    return false
  }
}
