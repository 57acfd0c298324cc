#!/usr/bin/env node
import { readConfig, readConfigInspection } from '../plugins/config.ts'
import { runCommand } from './commands/run-command.ts'
import { readBaseUrl } from './config/load.ts'
import { createDefinitionLoader } from './definitions.ts'

process.exitCode = await runCommand(process.argv.slice(2), {
  readConfig: async () => await readConfig({ environment: process.env, dotenvPath: '.env' }),
  inspectConfig: async () => await readConfigInspection({ environment: process.env, dotenvPath: '.env' }),
  readBaseUrl: () => readBaseUrl(process.env, '.env'),
  loadDefinitions: async (config) => await createDefinitionLoader().load(config),
  print: (text) => { console.log(text) },
  printError: (text) => { console.error(text) }
})
