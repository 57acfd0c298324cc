import type { Config } from '../config/config.ts'
import { defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Checks the settings as the server reads them when it starts, and names every one that needs attention. It asks ' +
    'nobody and loads no tools: it needs no network (seed doctor does). No secret is printed.',
    'The exit code is 0 if the server would accept the settings, and 1 otherwise.'
  ],
  examples: [
    ['seed check', 'Check the environment and .env'],
    ['docker run --rm --env-file .env seed-mcp-server seed check', 'Check what a container would get'],
    ['seed check --json | jq .problems', 'For scripts']
  ],

  declare: (parser) => parser.option('--json', 'print the problems as JSON', false),

  async run ({ json }, { inspectConfig, print, printError }) {
    const { config, problems } = await inspectConfig()
    const isValid = problems.length === 0
    if (json) {
      print(JSON.stringify({ valid: isValid, problems }, null, 2))
    } else if (isValid) {
      print(`The settings are valid.\n${summarize(config)}`)
    } else {
      const count = problems.length === 1 ? 'One setting needs' : `${problems.length} settings need`
      const lines = problems.map(({ message }) => `\n  - ${message}`)
      printError(`${count} attention (see .env.example):${lines.join('')}`)
    }
    return isValid ? 0 : 1
  }
})

/** Shows the choices that matter most, to compare with what was meant. */
function summarize ({ endpoints, host, port, authRequired, oauth, oidc, redis, extensions }: Config): string {
  const rows = [
    ...endpoints.map(({ resource }, index) =>
      ['MCP endpoint', index === 0 ? `${resource} (listens on ${host}, port ${port})` : resource]),
    ['Sign-in', authRequired ? `${oauth.mode} mode, provider ${oidc.issuer}` : 'none (AUTH_REQUIRED=false)'],
    ['Store', redis.url === undefined ? 'memory' : 'Redis'],
    ['Extensions', extensions.join(', ') || 'none']
  ]
  return rows.map(([name, value]) => `  ${name!.padEnd(14)}${value}`).join('\n')
}
