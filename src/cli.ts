#!/usr/bin/env node
import { runCommand } from './commands/run-command.ts'
import { readVariables } from './config/variables.ts'
import type { Environment } from './config/variables.ts'
import type { serve as Serve } from './serve.ts'

interface DemoModule {
  startDemo (environment: Environment, serve: typeof Serve, print: (text: string) => void): Promise<boolean>
}

/** Not a part of src: only `seed demo` loads the development provider. */
const DEMO = new URL(`../dev/demo${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url).href

const source = { environment: process.env, dotenvPath: '.env' }

// Modules are loaded by the command that needs them: `seed health` is run every few seconds.
process.exitCode = await runCommand(process.argv.slice(2), {
  async readConfig () {
    const { readConfig } = await import('../plugins/config.ts')
    return await readConfig(source)
  },
  async inspectConfig () {
    const { readConfigInspection } = await import('../plugins/config.ts')
    return await readConfigInspection(source)
  },
  readSettings: () => new Map(Object.entries(readVariables(source.environment, source.dotenvPath))),
  async loadOffers (config) {
    const { loadOffers } = await import('./definitions.ts')
    return await loadOffers(config)
  },
  async serve (overrides) {
    secureProcess()
    const { serve } = await import('./serve.ts')
    return await serve({ ...process.env, ...overrides }, source.dotenvPath) ? 0 : 1
  },
  async startDemo (overrides) {
    secureProcess()
    const { startDemo } = await import(DEMO) as DemoModule
    const { serve } = await import('./serve.ts')
    return await startDemo({ ...process.env, ...overrides }, serve, print) ? 0 : 1
  },
  print,
  printError: (text) => { console.error(text) }
})

/** Does what `npm start` does by flags of Node.js, which a command line cannot count on. */
function secureProcess (): void {
  process.setSourceMapsEnabled(true)
  Reflect.deleteProperty(Object.prototype, '__proto__')
}

function print (text: string): void {
  console.log(text)
}
