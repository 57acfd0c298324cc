#!/usr/bin/env node
import { runCommand } from './commands/run-command.ts'
import { readVariables } from './config/variables.ts'

/** What a command does not need is not loaded: `seed health` is run every few seconds. */
const source = { environment: process.env, dotenvPath: '.env' }

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
  async loadDefinitions (config) {
    const { createDefinitionLoader } = await import('./definitions.ts')
    return await createDefinitionLoader().load(config)
  },
  async serve (overrides) {
    // As `npm start` does by flags of Node.js, which a command line cannot count on.
    process.setSourceMapsEnabled(true)
    Reflect.deleteProperty(Object.prototype, '__proto__')
    const { serve } = await import('./serve.ts')
    return await serve({ ...process.env, ...overrides }, source.dotenvPath) ? 0 : 1
  },
  print: (text) => { console.log(text) },
  printError: (text) => { console.error(text) }
})
