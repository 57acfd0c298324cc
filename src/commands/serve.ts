import { defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Starts the server with the settings of the environment and of .env in the current folder. What prevents the ' +
    'start is printed, and the exit code is 1. SIGTERM and Ctrl-C let running calls finish.',
    'Without OIDC_ISSUER it says how to go on. Without REDIS_URL everything is kept in memory.'
  ],
  examples: [
    ['seed serve', 'Start with .env'],
    ['PORT=8080 seed serve --extensions ./tools', 'Listen on another port, with the tools of a folder']
  ],

  declare: (parser) => parser
    .option('--extensions <paths>', 'tools, prompts and resources to add, as SEED_EXTENSIONS names them'),

  async run ({ extensions }, { serve, readSettings, printError }) {
    const code = await serve(extensions === undefined ? {} : { SEED_EXTENSIONS: extensions })
    const settings = readSettings()
    const hasProvider = settings.has('OIDC_ISSUER') || settings.get('AUTH_REQUIRED') === 'false'
    if (code !== 0 && !hasProvider) printError(WITHOUT_PROVIDER)
    return code
  }
})

const WITHOUT_PROVIDER = `
No OpenID provider is set (OIDC_ISSUER). There are two ways to go on:

  1. With your company's provider:
       OAUTH_MODE=broker OIDC_ISSUER=https://auth.example.com OIDC_CLIENT_ID=... OIDC_CLIENT_SECRET=... seed serve
     Register http://localhost:3000/oauth/callback there; seed doctor says what is still wrong.

  2. Without any sign-in, on this machine only:
       AUTH_REQUIRED=false seed serve`
