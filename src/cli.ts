#!/usr/bin/env node
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { readConfig } from '../plugins/config.ts'
import { explain } from './commands/explain.ts'
import { revoke } from './commands/revoke.ts'
import { createDefinitionLoader } from './definitions.ts'

/** The command line for operators: the same environment as the server's. */
const USAGE = `Usage: seed revoke --subject <sub> | --client <client id> | --grant <grant id>

Ends the sign-ins of a person, of a client, or one of them, on every replica at once.

Usage: seed explain --tool <name> | --prompt <name> | --resource <uri> [--claims <file.json>] [--scopes "<scope> <scope>"]

Tells why a caller may use something, or may not. The file has the claims of an access token; without it, nobody is
signed in. --scopes stands for those in the file. The exit code is 0 where the caller may, and 1 where not.

Both read the same settings as the server: REDIS_URL, SEED_SECRET, OIDC_ISSUER and so on.`

const REVOKE = { subject: { type: 'string' }, client: { type: 'string' }, grant: { type: 'string' } } as const
const EXPLAIN = { tool: { type: 'string' }, prompt: { type: 'string' }, resource: { type: 'string' }, claims: { type: 'string' }, scopes: { type: 'string' } } as const

const say = (fields: object, message: string): void => { console.error(JSON.stringify({ msg: message, ...fields })) }

async function runRevoke (args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: REVOKE })
  if (Object.keys(values).length !== 1) throw new Error(USAGE)
  const config = await readConfig({ environment: process.env, dotenvPath: '.env' })
  console.log(await revoke(config, { subject: values.subject, clientId: values.client, grantId: values.grant }, { info: () => {}, warn: say, error: say }))
}

async function runExplain (args: string[]): Promise<void> {
  const { values: { claims: file, ...values } } = parseArgs({ args, options: EXPLAIN })
  if ([values.tool, values.prompt, values.resource].filter((value) => value !== undefined).length !== 1) throw new Error(USAGE)
  const config = await readConfig({ environment: process.env, dotenvPath: '.env' })
  const claims = file === undefined ? values.scopes === undefined ? undefined : {} : await readClaims(file)
  const { allowed, text } = explain(config, { ...values, claims }, await createDefinitionLoader().load(config))
  console.log(text)
  if (!allowed) process.exitCode = 1
}

async function readClaims (file: string): Promise<Record<string, unknown>> {
  const claims: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) throw new Error(`${file} must have one JSON object: the claims of an access token`)
  return claims as Record<string, unknown>
}

try {
  const [command, ...args] = process.argv.slice(2)
  if (command === 'explain') await runExplain(args)
  else if (command === 'revoke') await runRevoke(args)
  else throw new Error(USAGE)
} catch (err) {
  console.error((err as Error).message)
  process.exitCode = 1
}
