import { fileURLToPath } from 'node:url'
import closeWithGrace from 'close-with-grace'
import { buildApp } from '../src/app.ts'
import type { Definition } from '../src/define/definition.ts'
import { forbidExit } from '../src/extensions/forbid-exit.ts'
import { logUnhandledRejections } from '../src/extensions/unhandled-rejections.ts'
import { listen } from '../src/listen.ts'
import type { Engine } from '../src/mcp/engine.ts'
import { REVISIONS } from '../src/mcp/revisions.ts'
import { createConfigurationResource } from '../src/resources/_configuration.ts'
import { startDevProvider } from './provider.ts'
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

try {
  const provider = await startDevProvider({ port: Number(DEV_PROVIDER_PORT) }).catch((err: NodeJS.ErrnoException) => {
    throw new Error(
      `The development provider cannot listen on port ${DEV_PROVIDER_PORT} (${err.code}): ` +
        'stop what listens there, or set DEV_PROVIDER_PORT to another one'
    )
  })
  try {
    const environment = {
      LOG_LEVEL: 'info',
      // No real client's metadata document is fetched for a server that only this machine can reach.
      CIMD_ENABLED: 'false',
      OIDC_SCOPES: 'openid profile email groups offline_access',
      // The MCP Inspector runs in a browser.
      CORS_EXTRA_ORIGINS: 'http://localhost:6274,http://127.0.0.1:6274',
      ...process.env,
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId
    }
    let reloader: Reloader | undefined
    // Made of the configuration, so it stays the same after each save.
    let configuration!: Definition
    let engine!: Pick<Engine, 'replace'>
    const app = await buildApp(environment, {
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
      onEngine (made) { engine = made }
    }).catch((err: unknown) => { throw reloader?.addFile(err) ?? err })
    await listen(app)
    reloader!.watch((definitions) => { engine.replace([...definitions, configuration]) }, app.log)
    logUnhandledRejections(app.log, reloader!.namesInStack)
    closeWithGrace({ delay: 5_000, logger: false, skip: ['unhandledRejection'] }, async () => {
      allowExit()
      await reloader!.close()
      await app.close()
      await provider.close()
    })
    console.log(welcome(app.config.resource, provider.issuer, provider.users))
  } catch (err) {
    await provider.close()
    throw err
  }
} catch (err) {
  console.error((err as Error).message)
  allowExit()
  process.exitCode = 1
}

function welcome (mcpUrl: string, issuer: string, users: Array<{ login: string, password: string }>): string {
  return `
  Seed is running.

    MCP endpoint   ${mcpUrl}
    Sign in as     ${users.map(({ login, password }) => `${login} (password ${password})`).join('  or  ')}
    Provider       ${issuer} (development only)

  Connect Claude Code:

    claude mcp add --transport http seed ${mcpUrl}

  then start claude, type /mcp, and choose "seed" to sign in. An access token for curl (docs/first-steps.md):

    TOKEN=$(npm run --silent seed -- token ${mcpUrl})

  Ctrl-C stops everything.
`
}
