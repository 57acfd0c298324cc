import { announceRevocation } from '../audit/operator-revocations.ts'
import type { Config } from '../config/config.ts'
import type { ActiveConnection } from '../connections/activity.ts'
import { printableJson, withoutControls } from '../json/printable.ts'
import type { Log } from '../logging/log.ts'
import { listConnections } from '../oauth/modes/broker/connections.ts'
import type { Connection, ConnectionFilter } from '../oauth/modes/broker/connections.ts'
import type { Grants } from '../oauth/modes/broker/grants.ts'
import { ignoreOutage } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { UsageError, defineCommand } from './command.ts'
import { openConnectionActivity } from './connection-activity.ts'
import { createErrorLog, issuerOf, withGrants, withStore } from './open-store.ts'

export const command = defineCommand({
  description: [
    'Lists the applications that act in people\'s names: who allowed which client, since when, when it was last ' +
    'used, what it may do, and what is open. Ends them with --end, with their access tokens, on every replica at ' +
    'once.',
    'Options are combined: a connection must match all of them. "Last used" is exact to the lifetime of an access ' +
    'token (ACCESS_TOKEN_TTL). Sessions are those of the client at the MCP endpoint, streams all those of the person.'
  ],
  examples: [
    ['seed connections --person ada@example.com', 'What Ada has allowed'],
    ['seed connections --unused-for 30d --end --dry-run', 'What would end'],
    ['seed connections --json | jq -r .clientId | sort | uniq -c', 'How many each client has: one JSON object a line']
  ],

  declare: (parser) => parser
    .option('--person <text>', 'subject, name, user name or email address, whole and in any case')
    .option('--subject <sub>', 'the person\'s sub at the provider; quicker than --person')
    .option('--client <id>', 'the client\'s id')
    .option('--grant <id>', 'the grant\'s id')
    .option('--older-than <duration>', 'signed in longer ago than this: 90d, 12h, 30m')
    .option('--unused-for <duration>', 'last used longer ago than this')
    .option('--end', 'end them', false)
    .option('--all', 'with --end and no filter: end everything', false)
    .option('--dry-run', 'with --end: only show what would end', false)
    .option('--json', 'print one JSON object for each connection', false),

  async run (options, { readConfig, print, printError }) {
    const filter = toFilter(options, Math.floor(Date.now() / 1_000))
    if (options.end && !options.all && Object.keys(filter).length === 0) {
      throw new UsageError('name what to end, or --all')
    }
    if (!options.end && (options.all || options.dryRun)) throw new UsageError('--all and --dry-run belong to --end')
    await showConnections(await readConfig(), { ...options, filter }, { print, log: createErrorLog(printError) })
    return 0
  }
})

interface FilterOptions {
  person?: string | undefined
  subject?: string | undefined
  client?: string | undefined
  grant?: string | undefined
  olderThan?: string | undefined
  unusedFor?: string | undefined
}

/** @throws UsageError */
function toFilter (
  { person, subject, client, grant, olderThan, unusedFor }: FilterOptions, now: number
): ConnectionFilter {
  return {
    ...(person !== undefined && { person }),
    ...(subject !== undefined && { subject }),
    ...(client !== undefined && { clientId: client }),
    ...(grant !== undefined && { grantId: grant }),
    ...(olderThan !== undefined && { sinceBefore: now - parseDuration('--older-than', olderThan) }),
    ...(unusedFor !== undefined && { usedBefore: now - parseDuration('--unused-for', unusedFor) })
  }
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }

/** @returns seconds. @throws UsageError */
function parseDuration (option: string, text: string): number {
  const [, number, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? []
  if (unit === undefined) throw new UsageError(`${option} is a number with a unit: 90d, 12h, 30m`)
  return Number(number) * UNITS[unit]!
}

export interface ConnectionsOptions {
  filter: ConnectionFilter
  end: boolean
  dryRun: boolean
  json: boolean
}

/**
 * Prints the connections that match, and ends them if that is asked for.
 *
 * @throws Error with a sentence for the operator
 */
export async function showConnections (
  config: Config, options: ConnectionsOptions, { print, log }: { print (text: string): void, log: Log }
): Promise<void> {
  const { filter, json } = options
  if (config.oauth.mode === 'proxy') {
    throw new Error('With OAUTH_MODE=proxy the provider keeps the grants: it knows who is connected. Here, ' +
      'seed revoke --subject ends the access tokens that a person has now')
  }
  const toEnd = options.end && !options.dryRun
  await withStore(config, log, async (store) => {
    const activity = await openConnectionActivity(config, store)
    const describe = json ? toJson : toText
    try {
      const count = await withGrants({ config, store, log, toEnd }, async (grants) => {
        let count = 0
        for await (const batch of listConnections(store, grants, filter)) {
          // Described first: with a grant its sessions and streams end as well.
          const described = await activity.describe(batch)
          if (toEnd) {
            await endConnections(batch, { grants, store, issuer: issuerOf(config) })
          }
          for (const connection of described) print(describe(connection))
          count += batch.length
        }
        return count
      })
      if (!json) print(summarize(count, options))
    } finally {
      await activity.close()
    }
  })
}

/** Ends connections. Where the store fails half-way, the audit log says so of each: some of them may be left. */
async function endConnections (
  batch: readonly Connection[], { grants, store, issuer }: { grants: Grants, store: Store, issuer: string }
): Promise<void> {
  const announce = async (outcome: 'ok' | 'unavailable'): Promise<void> => {
    for (const { subject, clientId: client, grant } of batch) {
      await announceRevocation(store, { issuer, subject, client, grant, outcome })
    }
  }
  try {
    await grants.revokeMany(batch.map(({ grant }) => grant), 'revoked by the operator')
  } catch (err) {
    await announce('unavailable').catch(ignoreOutage)
    throw err
  }
  await announce('ok')
}

function summarize (count: number, { end, dryRun }: ConnectionsOptions): string {
  const connections = count === 1 ? 'One connection' : `${count} connections`
  if (!end) return connections
  if (dryRun) return `${connections} would end`
  return `${connections} ${count === 1 ? 'has' : 'have'} ended`
}

function toJson (connection: ActiveConnection): string {
  const { since, lastUsed, expires } = connection
  return printableJson({ ...connection, since: toIso(since), lastUsed: toIso(lastUsed), expires: toIso(expires) })
}

function toText (connection: ActiveConnection): string {
  const { grant, clientId, clientName, resource, since, lastUsed, scopes, sessions, streams } = connection
  const client = clientName === undefined ? clientId : `${clientName} (${clientId})`
  const open = [count(sessions, 'session'), count(streams, 'stream')].filter((text) => text !== undefined)
  return [
    `${personOf(connection)}, ${client}${resource === undefined ? '' : `, at ${resource}`}`,
    `  since ${toMinute(since)}, last used ${toMinute(lastUsed)}; grant ${grant}`,
    `  scopes: ${scopes.join(' ') || 'none'}${open.length === 0 ? '' : `; open: ${open.join(', ')}`}`
  ].map(withoutControls).join('\n')
}

function personOf ({ subject, name, email }: Connection): string {
  const known = [name, email].filter((text) => text !== undefined)
  return known.length === 0 ? subject : `${known.join(', ')} (${subject})`
}

function count (number: number, noun: string): string | undefined {
  return number === 0 ? undefined : `${number} ${noun}${number === 1 ? '' : 's'}`
}

function toIso (seconds: number): string {
  return new Date(seconds * 1_000).toISOString()
}

function toMinute (seconds: number): string {
  return `${toIso(seconds).slice(0, 16).replace('T', ' ')} UTC`
}
