import { defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Starts the server to try it: with an OpenID provider for development (users ada and bob, whose passwords are ' +
    'their names), in broker mode, in memory. Both listen on this machine only. Settings of a provider or of Redis, ' +
    'SEED_SECRET and .env are not read.'
  ],
  examples: [
    ['seed demo', 'Start on ports 3000 and 3001'],
    ['seed demo --port 8080 --provider-port 8081 --extensions ./tools', 'With the tools of a folder']
  ],

  declare: (parser) => parser
    .option('--port <port>', 'the port of the server, as PORT')
    .option('--provider-port <port>', 'the port of the provider, as DEV_PROVIDER_PORT')
    .option('--extensions <paths>', 'tools, prompts and resources to add, as SEED_EXTENSIONS names them'),

  async run ({ port, providerPort, extensions }, { startDemo }) {
    return await startDemo({
      ...(port !== undefined && { PORT: port }),
      ...(providerPort !== undefined && { DEV_PROVIDER_PORT: providerPort }),
      ...(extensions !== undefined && { SEED_EXTENSIONS: extensions })
    })
  }
})
