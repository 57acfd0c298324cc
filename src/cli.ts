#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { revoke } from './commands/revoke.ts'
import { loadConfig } from './config/env.ts'

/** The command line for operators: the same environment as the server's. */
const USAGE = `Usage: seed revoke --subject <sub> | --client <client id> | --grant <grant id>

Ends the sign-ins of a person, of a client, or one of them, on every replica at once.
Reads the same settings as the server: REDIS_URL, SEED_SECRET, OIDC_ISSUER and so on.`

const say = (fields: object, message: string): void => { console.error(JSON.stringify({ msg: message, ...fields })) }

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { subject: { type: 'string' }, client: { type: 'string' }, grant: { type: 'string' } }
  })
  if (positionals.join(' ') !== 'revoke' || Object.keys(values).length !== 1) throw new Error(USAGE)
  const config = loadConfig(process.env, '.env')
  console.log(await revoke(config, { subject: values.subject, clientId: values.client, grantId: values.grant }, { info: () => {}, warn: say, error: say }))
} catch (err) {
  console.error((err as Error).message)
  process.exitCode = 1
}
