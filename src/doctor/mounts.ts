import type { Config } from '../config/config.ts'
import { findUnknownMounts } from '../config/endpoints.ts'
import { ConfigError } from '../config/problem.ts'
import type { Definition } from '../define/definition.ts'
import { withoutControls } from '../json/printable.ts'
import type { DeclaredMount } from '../mounts/settings/define-mount.ts'
import type { Mount, MountInspection } from '../mounts/inspect.ts'
import { question } from './finding.ts'
import type { Finding, Question } from './finding.ts'
import { within } from './within.ts'

const MAX_NAMES = 10
/**
 * Time for each mounted server, which may use its `connectTimeoutSeconds` several times: a slow one does not hide what
 * was found out about the others.
 */
const MOUNT_MS = 50_000

/** Connects to each mounted server as the start does, and judges what it offers. */
export async function checkMounts (
  config: Config,
  loadOffers: () => Promise<{ definitions: readonly Definition[], mounts: readonly DeclaredMount[] }>,
  limitMs = MOUNT_MS
): Promise<Finding[]> {
  const { mountsFile, endpoints, extensions } = config
  if (mountsFile === undefined && extensions.length === 0) return []
  // What fails to load is a finding of the tools.
  const offers = await loadOffers().catch(() => undefined)
  const { definitions: own, mounts: declared } = offers ?? { definitions: [], mounts: [] }
  const { inspectMounts, readMounts } = await import('../mounts/inspect.ts')
  let mounts: Mount[]
  try {
    mounts = readMounts(mountsFile, { ...config, declared })
    const unknown = offers === undefined ? [] : findUnknownMounts(endpoints, mounts.map(({ name }) => name))
    if (unknown.length > 0) throw new ConfigError(unknown)
  } catch (err) {
    const about = question('mounts.definitions', 'the mounts of SEED_MOUNTS and of extensions')
    return (err as ConfigError).problems.map((text) => about.error(text, 'The server would not start'))
  }
  const findings = await Promise.all(mounts.map(async (mount) => await within(`mounts.${mount.name}`, async () =>
    (await inspectMounts({ mounts, chosen: [mount], own, config })).flatMap(judge), limitMs)))
  return findings.flat()
}

function judge (inspection: MountInspection): Finding[] {
  const { mount: { name }, place, state } = inspection
  const request = 'url' in place ? `POST ${place.url}` : `the process ${withoutControls(place.command)}`
  const about = question(`mounts.${name}`, `${request}, the lists of mount "${name}"`)
  return state.isConnected ? judgeOffers(about, inspection) : [judgeFailure(about, inspection)]
}

function judgeFailure (about: Question, { mount, state }: MountInspection): Finding {
  const { reason } = state as Extract<MountState, { isConnected: false }>
  const meaning = `Nothing of "${mount.name}" is offered: ${remedyOf(reason, mount)}`
  const setting = reason.includes('NODE_EXTRA_CA_CERTS') ? 'NODE_EXTRA_CA_CERTS' : 'SEED_MOUNTS'
  return about.error(reason, meaning, { setting })
}

type MountState = MountInspection['state']

/** Says what to do about the reason that a connection has failed for. */
function remedyOf (reason: string, { name, secret, identity, process }: MountInspection['mount']): string {
  const member = `of mount "${name}"`
  if (process !== undefined) return `check command, args, env and cwd ${member}, and run the command by hand`
  if (identity?.tokenFor?.allowServerToken === true) {
    const refusesToken = `check identity.tokenFor.audience, resource and scopes ${member}`
    if (/gave no token/.test(reason)) {
      return `its lists need a token of Seed: let the provider allow OIDC_CLIENT_ID to use client credentials, and ${
        refusesToken}`
    }
    if (/identity provider cannot be used/.test(reason)) return 'its lists need a token of the provider: see there'
    if (/HTTP status 40[13]/.test(reason)) return `the server refuses the token of Seed: ${refusesToken}`
  }
  if (identity?.assertion !== undefined && secret === undefined && /HTTP status 40[13]/.test(reason)) {
    return `the server refuses Seed's assertion: check identity.assertion.audience ${member}, BASE_URL, SEED_SECRET, ` +
      'and that the server can fetch /.well-known/jwks.json of the running Seed'
  }
  if (identity?.tokenFor !== undefined && secret === undefined && /HTTP status 40[13]/.test(reason)) {
    return 'the server wants a token for its lists too, which belong to no caller: set ' +
      `identity.tokenFor.allowServerToken: true ${member}, or add secret.file for a fixed one`
  }
  if (/HTTP status 40[13]/.test(reason)) {
    return secret === undefined
      ? `the server wants a secret: add secret.file to mount "${name}"`
      : `the server refuses the secret: check secret.file, secret.header and secret.scheme ${member}`
  }
  if (/HTTP status 404/.test(reason)) return `the url ${member} has another path, often /mcp`
  if (/HTTP status 50[234]/.test(reason)) return 'the server behind its proxy is not running'
  if (/something other than MCP/.test(reason)) return `the url ${member} is that of a web page or of another API`
  if (/in time/.test(reason)) return 'the server is slow, or a firewall drops the connection'
  if (/NODE_EXTRA_CA_CERTS/.test(reason)) return 'its certificate is of a CA that Node.js does not know'
  return `check the url ${member} from here, and HTTPS_PROXY, NO_PROXY`
}

function judgeOffers (about: Question, inspection: MountInspection): Finding[] {
  const { mount: { name }, state, offers, refused, unmatched, changes = [] } = inspection
  const hidden = changes.filter(({ change }) => change !== 'removed')
  const { revision } = state as Extract<MountState, { isConnected: true }>
  const counts = countKinds(offers)
  const answered = `MCP ${revision}; ${counts}`
  const change = { setting: 'SEED_MOUNTS' }
  const connected = offers.length === 0
    ? about.warning(answered, `Nothing of "${name}" is offered: the server has nothing, or allow and deny of mount ` +
      `"${name}" leave nothing`, change)
    : about.ok(answered, `"${name}" offers ${counts}, by MCP ${revision}`)
  return [
    connected,
    ...(hidden.length === 0
      ? []
      : [about.warning(listNames(hidden.map((one) => `${one.name} (${one.change})`)), `Not all of "${name}" is ` +
        `offered, as it is not accepted (pin): seed mounts diff ${name}, then seed mounts accept ${name}`, change)]),
    ...(unmatched.length === 0
      ? []
      : [about.warning(`nothing fits ${listNames(unmatched)}`, `Names of mount "${name}" have no effect: a tool may ` +
        'have been renamed, and its rules are lost', change)]),
    ...(refused.length === 0
      ? []
      : [about.warning(listNames(refused.map(({ offer, reason }) => `${offer} (${reason})`)), `Not all of "${name}" ` +
        'is offered, as clients would refuse it: the server must be corrected, or deny it', change)])
  ]
}

function countKinds (offers: MountInspection['offers']): string {
  const count = (kind: string, noun: string): string => {
    const number = offers.filter(({ definition }) => definition.kind === kind).length
    return `${number} ${noun}${number === 1 ? '' : 's'}`
  }
  return [
    count('tool', 'tool'), count('prompt', 'prompt'), count('resource', 'resource'),
    count('resource-template', 'resource template')
  ].join(', ')
}

/** Names are a stranger's, and go to a terminal. */
function listNames (names: readonly string[]): string {
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : ''
  return withoutControls(names.slice(0, MAX_NAMES).join(', ')) + more
}
