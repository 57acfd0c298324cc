import { defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Starts the server with the settings of the environment and of .env in the current folder. What prevents the ' +
    'start is printed, and the exit code is 1. SIGTERM and Ctrl-C let running calls finish.',
    'Without OIDC_ISSUER it says how to go on. Without REDIS_URL everything is kept in memory.'
  ],
  examples: [
    ['seed serve', 'Start with .env'],
    ['seed serve --port 8080 --extensions ./tools', 'Listen on another port, with the tools of a folder']
  ],

  declare: (parser) => parser
    .option('--port <port>', 'the port to listen on, as PORT')
    .option('--extensions <paths>', 'tools, prompts and resources to add, as SEED_EXTENSIONS names them'),

  async run ({ port, extensions }, { serve, readSettings, printError }) {
    const code = await serve({
      ...(port !== undefined && { PORT: port }),
      ...(extensions !== undefined && { SEED_EXTENSIONS: extensions })
    })
    const settings = readSettings()
    const hasProvider = settings.has('OIDC_ISSUER') || settings.get('AUTH_REQUIRED') === 'false'
    if (code !== 0 && !hasProvider) printError(WITHOUT_PROVIDER)
    return code
  }
})

const WITHOUT_PROVIDER = `
No OpenID provider is set (OIDC_ISSUER). There are three ways to go on:

  1. Try it on this machine, with a provider for development (users ada and bob):
       npx seed-mcp-server demo

  2. With your company's provider, where http://localhost:3000/oauth/callback is registered:
       OAUTH_MODE=broker OIDC_ISSUER=https://auth.example.com OIDC_CLIENT_ID=... OIDC_CLIENT_SECRET=... \\
         npx seed-mcp-server
     "npx seed-mcp-server doctor" with the same settings says what is still wrong.

  3. Without any sign-in, on this machine only:
       AUTH_REQUIRED=false npx seed-mcp-server`
