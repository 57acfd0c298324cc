import { fileURLToPath } from 'node:url'
import closeWithGrace from 'close-with-grace'
import { buildApp } from '../src/app.ts'
import type { Definition } from '../src/define/definition.ts'
import { forbidExit } from '../src/extensions/forbid-exit.ts'
import { logUnhandledRejections } from '../src/extensions/unhandled-rejections.ts'
import { listen } from '../src/listen.ts'
import { printStartFailure } from '../src/logging/start-failure.ts'
import type { Engine } from '../src/mcp/engine.ts'
import { REVISIONS } from '../src/mcp/revisions.ts'
import { createConfigurationResource } from '../src/resources/_configuration.ts'
import { endWithoutTerminal } from '../src/vanished-terminal.ts'
import { DEFAULTS, companyRule, providerSettings, startProvider, untilReady, welcome } from './development.ts'
import { createDevelopmentLog } from './log-output.ts'
import { createReloader } from './reload.ts'
import type { Reloader } from './reload.ts'

/**
 * `npm run dev`: Seed with the in-memory store next to an OpenID provider of its own, on this machine only.
 * PORT and DEV_PROVIDER_PORT move them; any other setting can be overridden from the environment. Tools, prompts and
 * resources are loaded again when they are saved.
 */
const { DEV_PROVIDER_PORT = '3001' } = process.env
/** As in the server: an extension must not end it. */
const allowExit = forbidExit()
endWithoutTerminal()

try {
  const provider = await startProvider(DEV_PROVIDER_PORT)
  try {
    const environment = { LOG_LEVEL: 'info', ...DEFAULTS, ...process.env, ...providerSettings(provider) }
    let reloader: Reloader | undefined
    // Made of the configuration, so it stays the same after each save.
    let configuration!: Definition
    let engine!: Pick<Engine, 'replace'>
    const logStream = await createDevelopmentLog(process.stdout)
    const app = await buildApp(environment, {
      logStream,
      async definitions (config) {
        reloader = await createReloader({
          extensions: config.extensions,
          from: process.cwd(),
          // This file runs compiled, from a folder of the repository.
          source: fileURLToPath(new URL('../../src/', import.meta.url))
        })
        configuration = createConfigurationResource(config, REVISIONS)
        return [...reloader.definitions, configuration]
      },
      mounts: () => reloader!.mounts,
      onEngine (made) { engine = made }
    }).catch((err: unknown) => { throw reloader?.addFile(err) ?? err })
    provider.enterpriseRules.push(companyRule(app.config))
    await listen(app)
    reloader!.watch((definitions) => { engine.replace([...definitions, configuration]) }, app.log)
    logUnhandledRejections(app.log, reloader!.namesInStack)
    closeWithGrace({ delay: 5_000, logger: false, skip: ['unhandledRejection'] }, async () => {
      allowExit()
      await reloader!.close()
      await app.close()
      await provider.close()
    })
    await untilReady(app.config.baseUrl)
    console.log(welcome(app.config.resource, provider, 'npm run --silent seed --'))
  } catch (err) {
    await provider.close()
    throw err
  }
} catch (err) {
  printStartFailure(err as Error, {
    isTerminal: process.stdout.isTTY,
    print: console.log,
    printError: console.error
  })
  allowExit()
  process.exitCode = 1
}
