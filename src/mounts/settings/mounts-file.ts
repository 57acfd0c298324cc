import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Compile } from 'typebox/compile'
import type { Config } from '../../config/config.ts'
import { checkSettings, readSettingsFile, toFileError } from '../../config/settings-file.ts'
import type { Policy } from '../../define/policy.ts'
import { isLoopbackHost } from '../../net/addresses.ts'
import { checkAuthenticationPolicy } from '../../policy/authentication-policy.ts'
import type { DeclaredMount } from './define-mount.ts'
import { checkIdentity } from './identity-rules.ts'
import type { MountSettings } from './identity-rules.ts'
import { MountsFileSchema } from './mount-schema.ts'
import type { MountEntry } from './mount-schema.ts'
import { readPins, readUsablePins } from '../pins/pin-file.ts'
import type { Pins } from '../pins/pins.ts'
import { toProcess } from './mount-process.ts'
import type { MountProcess } from './mount-process.ts'
import { listOverrides } from './overrides.ts'
import { isReservedHeader, tokenHeader } from './request-headers.ts'

/** One mounted server, as the operator wrote it, with its name and all headers. */
export interface Mount extends MountEntry {
  /** Prefixes everything that the server offers. */
  name: string
  /** Headers of every request, the secret included. */
  requestHeaders: Readonly<Record<string, string>>
  /** The offers that the operator has accepted, and their file; undefined without `pin`. */
  pins?: Pins
  pinFile?: string
  /** The process to start; undefined for a server that is reached by its `url`. */
  process?: MountProcess | undefined
}

const DEFAULT_CONNECT_TIMEOUT_SECONDS = 10

/** Returns the limit of each request of a connection that is opened, and of each page of a list. */
export function connectTimeoutMs (
  { connectTimeoutSeconds = DEFAULT_CONNECT_TIMEOUT_SECONDS }: Pick<Mount, 'connectTimeoutSeconds'>
): number {
  return connectTimeoutSeconds * 1_000
}

const VARIABLE_RULE = 'have letters, digits and _ only, and not begin with a digit'

const fileForm = {
  setting: 'SEED_MOUNTS' as const,
  schema: Compile(MountsFileSchema),
  entries: 'mounts',
  noun: 'mount',
  article: 'a' as const,
  names: 'have 1 to 32 lower-case letters, digits and -, and begin with a letter',
  memberNames: { env: VARIABLE_RULE, envFiles: VARIABLE_RULE, headers: "have letters, digits and !#$%&'*+.^_`|~- only" }
}

/** Settings of Seed that decide about all mounts, and how the files are read. */
export type ReadMountsOptions = MountSettings & Partial<Pick<Config, 'inheritedVariables'>> & {
  onPinsProblem?: (problem: string) => void
  declared?: readonly DeclaredMount[]
}

/**
 * Reads the file of SEED_MOUNTS, YAML or JSON, and the files of secrets and pins that it names. Mounts of extensions
 * are checked in the same way.
 *
 * @param path SEED_MOUNTS; undefined if it is not set
 * @param options settings of Seed that decide what a mount may have
 * @param options.inheritedVariables what processes get of Seed's environment
 * @param options.onPinsProblem takes files of pins that are not there or damaged for empty ones, and gets the damage
 * @param options.declared the mounts of extensions
 * @returns the mounts, sorted by name
 * @throws ConfigError with every problem of a file, each naming the file, the mount and the member
 */
export function readMounts (path: string | undefined, options: ReadMountsOptions = {}): Mount[] {
  const mounts: Mount[] = []
  for (const source of [...readSource(path), ...(options.declared ?? []).map(toSource)]) {
    const { mounts: added, problems } = toMounts(source, options)
    problems.push(...checkUnique(added, mounts))
    mounts.push(...added)
    problems.push(...checkPrefixes(mounts))
    if (problems.length > 0) throw toFileError(source.setting, source.file, problems)
  }
  return mounts.sort((a, b) => a.name < b.name ? -1 : 1)
}

/** A file with mounts: that of SEED_MOUNTS, or one of an extension. */
interface MountSource {
  setting: 'SEED_MOUNTS' | 'SEED_EXTENSIONS'
  file: string
  folder: string
  entries: Readonly<Record<string, MountEntry>>
}

function readSource (path: string | undefined): MountSource[] {
  if (path === undefined) return []
  const { file, value } = readSettingsFile(path, fileForm)
  return [{ setting: fileForm.setting, file, folder: dirname(file), entries: value.mounts }]
}

function toSource ({ mount: { name, entry }, file, folder }: DeclaredMount): MountSource {
  const form = { ...fileForm, setting: 'SEED_EXTENSIONS' as const }
  if (typeof name !== 'string') throw toFileError(form.setting, file, ['a mount needs a name'])
  const value: unknown = { mounts: { [name]: entry } }
  checkSettings(value, form, file)
  return { setting: form.setting, file, folder, entries: value.mounts }
}

function toMounts (
  { folder, entries }: MountSource, options: ReadMountsOptions
): { mounts: Mount[], problems: string[] } {
  const { inheritedVariables = {}, onPinsProblem } = options
  const problems: string[] = []
  const mounts = Object.entries(entries)
    .map(([name, entry]) => {
      const { headers, problems: inHeaders } = toHeaders(entry, folder)
      const { process, problems: inProcess } = toProcess(entry, folder, inheritedVariables)
      const pinned = findPins(entry, folder, (file) => onPinsProblem === undefined
        ? readPins(file, name)
        : readUsablePins(file, name, onPinsProblem))
      const all = [
        ...checkName(name), ...checkTransport(entry), ...checkIdentity(entry, options),
        ...checkConnection(entry, options), ...checkPolicies(entry), ...inHeaders, ...inProcess, ...pinned.problems
      ]
      problems.push(...all.map((text) => `mount "${name}": ${text}`))
      return { ...entry, name, requestHeaders: headers, process, ...pinned.members }
    })
    .sort((a, b) => a.name < b.name ? -1 : 1)
  return { mounts, problems }
}

function checkUnique (added: readonly Mount[], mounts: readonly Mount[]): string[] {
  return added.filter(({ name }) => mounts.some((other) => other.name === name))
    .map(({ name }) => `mount "${name}": another mount has this name already: choose another one`)
}

function findPins (
  { pin }: MountEntry, folder: string, read: (file: string) => Pins
): { members: Pick<Mount, 'pins' | 'pinFile'>, problems: string[] } {
  if (pin === undefined) return { members: {}, problems: [] }
  const file = resolve(folder, pin.file)
  try {
    const pins = read(file)
    const pinned = pin.resources === true ? pins : { ...pins, resources: new Map() }
    return { members: { pins: pinned, pinFile: file }, problems: [] }
  } catch (err) {
    return { members: {}, problems: [`pin.file ${file} ${(err as Error).message}`] }
  }
}

/** Seed's own tools are called `seed_ping` and so on. */
function checkName (name: string): string[] {
  return name === 'seed' ? ['the name seed is reserved for what Seed offers itself: choose another one'] : []
}

/** Without prefixes two servers could offer the same name, and which one gets the calls would be chance. */
function checkPrefixes (mounts: readonly Mount[]): string[] {
  const [first, ...others] = mounts.filter(({ prefix = true }) => !prefix)
  return others.map(({ name }) =>
    `mount "${name}": prefix is false for mount "${first!.name}" already, and only one mount may be without a prefix`)
}

/** Without sign-in nobody is known: a connection for each person would be one for everybody. */
function checkConnection ({ connection }: MountEntry, { authRequired = true }: MountSettings): string[] {
  return connection === 'person' && !authRequired
    ? ['connection must be shared or session with AUTH_REQUIRED=false, as no person is known']
    : []
}

/** Checks the policies of the mount and of its single tools and prompts as those of other definitions are checked. */
function checkPolicies (entry: MountEntry): string[] {
  const policies = [['', entry], ...listOverrides(entry).map(({ place, override }) => [`${place}: `, override])]
  return (policies as Array<[string, Policy]>).flatMap(([place, policy]) => {
    try {
      checkAuthenticationPolicy(policy)
      return []
    } catch (err) {
      return [`${place}${(err as Error).message}`]
    }
  })
}

/** Members that only one of the two transports has. */
const HTTP_MEMBERS = ['headers', 'secret', 'identity', 'allowInsecureHttp'] as const
const STDIO_MEMBERS = ['args', 'env', 'envFiles', 'cwd', 'maxMemoryBytes'] as const

function checkTransport (entry: MountEntry): string[] {
  const { url, command } = entry
  if ((url === undefined) === (command === undefined)) return ['it must have either url or command']
  const [own, others] = url === undefined ? ['command', HTTP_MEMBERS] as const : ['url', STDIO_MEMBERS] as const
  const problems = others.filter((member) => entry[member] !== undefined)
    .map((member) => `${member} has no meaning for a mount with ${own}: remove it`)
  return url === undefined ? problems : [...problems, ...checkUrl(url, entry)]
}

function checkUrl (url: string, { secret, identity, allowInsecureHttp = false }: MountEntry): string[] {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    return [`url must be an http or https URL (it is "${url}")`]
  }
  if (parsed.username !== '' || parsed.password !== '') return ['url must not have a password: use secret.file']
  if (parsed.protocol === 'https:' || allowInsecureHttp || isLoopbackHost(parsed.hostname)) return []
  if (secret !== undefined) return ['url must be https, as a secret is sent there (or set allowInsecureHttp: true)']
  return identity === undefined
    ? []
    : ['url must be https, as it is told there who calls (or set allowInsecureHttp: true)']
}

function toHeaders (
  { headers: given = {}, secret }: MountEntry, folder: string
): { headers: Record<string, string>, problems: string[] } {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(given)) headers[name.toLowerCase()] = value
  const reserved = Object.keys(headers).filter(isReservedHeader)
  const problems = reserved.map((name) => `headers must not have ${name}, which Seed sets itself`)
  if (secret === undefined) return { headers, problems }
  const value = readSecret(resolve(folder, secret.file))
  if (value.secret === undefined) return { headers, problems: [...problems, value.problem] }
  return { headers: { ...headers, ...tokenHeader(secret, value.secret) }, problems }
}

function readSecret (file: string): { secret: string } | { secret?: undefined, problem: string } {
  try {
    const secret = readFileSync(file, 'utf8').trim()
    if (/^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/.test(secret)) return { secret }
    return { problem: `secret.file ${file} must have one line of printable characters` }
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    return { problem: `secret.file ${file} cannot be read (${code})` }
  }
}
