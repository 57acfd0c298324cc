import { Argument } from '@commander-js/extra-typings'
import type { Config } from '../config/config.ts'
import { describeDefinition } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import { policyOf } from '../define/policy.ts'
import { printableJson, withoutControls } from '../json/printable.ts'
import type { DeclaredMount } from '../mounts/settings/define-mount.ts'
import type { Failure } from '../mounts/connection/failure.ts'
import type { Mount, MountInspection, MountedOffer } from '../mounts/inspect.ts'
import { describeChange } from '../mounts/pins/pin-diff.ts'
import { PIN_KINDS } from '../mounts/pins/pins.ts'
import type { Pin, PinChange, PinKind, Pins } from '../mounts/pins/pins.ts'
import { UsageError, defineCommand } from './command.ts'
import { describePolicy } from './describe-policy.ts'

export const command = defineCommand({
  description: [
    'list connects to the MCP servers of SEED_MOUNTS and of extensions, and shows what each offers: names at Seed ' +
    'and at the server, who may use it, and what is hidden or cannot be offered.',
    'diff shows what is new, changed or removed since it was accepted, for mounts with pin.file. accept writes what ' +
    'the servers offer now into these files; with names, which are those at the server, only that. Run it where the ' +
    'files can be written, and deploy them with the file of SEED_MOUNTS.',
    'The exit code is 1 if a server cannot be used, or if diff finds a difference, and 0 otherwise.'
  ],
  examples: [
    ['seed mounts list', 'What is offered, of each server'],
    ['seed mounts diff', 'For people before they accept, and for CI'],
    ['seed mounts accept tickets close_ticket', 'Accept one tool as it is now']
  ],

  declare: (parser) => parser
    .addArgument(new Argument('<action>', 'what to do').choices(['list', 'diff', 'accept'] as const))
    .argument('[mount]', 'one mount; all by default')
    .argument('[names...]', 'with accept: names or URI templates at the server')
    .option('--json', 'with list and diff: print JSON', false),

  async run ({ json }, { readConfig, loadOffers, print, printError }, action, name, names) {
    if (names.length > 0 && action !== 'accept') throw new UsageError('only accept takes names')
    if (json && action === 'accept') throw new UsageError('--json belongs to list and diff')
    const config = await readConfig()
    const { definitions: own, mounts: declared } = await loadOffers(config)
    const onPinsProblem = (problem: string): void => { printError(`${problem}: nothing in it counts as accepted`) }
    const inspections = await inspect(config, { own, declared, name, onlyPinned: action !== 'list', onPinsProblem })
    if (action === 'list') return list(inspections, json, print)
    const away = inspections.find(({ state }) => !state.isConnected)
    if (away !== undefined) throw new Error(`${describeState(away)}: seed doctor says what to do`)
    return action === 'diff'
      ? showChanges(inspections, json, print)
      : accept(inspections, names, print)
  }
})

interface InspectionChoice {
  own: readonly Definition[]
  /** The mounts of extensions. */
  declared: readonly DeclaredMount[]
  /** One mount; all by default. */
  name: string | undefined
  onlyPinned: boolean
  onPinsProblem (problem: string): void
}

/** @throws UsageError if there is no such mount, or no mount is pinned */
async function inspect (
  config: Config, { own, declared, name, onlyPinned, onPinsProblem }: InspectionChoice
): Promise<MountInspection[]> {
  const { mountsFile } = config
  if (mountsFile === undefined && declared.length === 0) {
    throw new Error('SEED_MOUNTS is not set, and no extension has a mount: no MCP server is mounted')
  }
  const { inspectMounts, readMounts } = await import('../mounts/inspect.ts')
  const all = readMounts(mountsFile, { ...config, declared, onPinsProblem })
  if (all.length === 0) {
    throw new Error('The file of SEED_MOUNTS has no mount, and no extension has one: no MCP server is mounted')
  }
  const named = name === undefined ? all : all.filter((mount) => mount.name === name)
  if (named.length === 0) {
    throw new UsageError(`there is no mount of this name: there are ${all.map((mount) => mount.name).join(', ')}`)
  }
  const chosen = onlyPinned ? named.filter(({ pin }) => pin !== undefined) : named
  if (chosen.length === 0) throw new UsageError('no mount is pinned: add pin.file to the mount')
  return await inspectMounts({ mounts: all, chosen, own, config })
}

type Print = (text: string) => void

function list (inspections: readonly MountInspection[], json: boolean, print: Print): number {
  print(json
    ? printableJson(inspections.map(toJson), 2)
    : inspections.map(describeMount).join('\n\n'))
  return inspections.every(({ state }) => state.isConnected) ? 0 : 1
}

function toJson ({ mount, place, state, offers, refused, excluded, changes, unmatched }: MountInspection) {
  return {
    mount: mount.name,
    ...place,
    ...(state.isConnected
      ? { state: 'connected', revision: state.revision }
      : { state: stateAway(mount, state), reason: state.reason }),
    offers: offers.map(({ definition, nameAtServer }) => {
      const { kind } = definition
      return { kind, name: offeredNameOf(definition), nameAtServer, policy: policyOf(definition) }
    }),
    hidden: hiddenOf(changes).map(({ kind, name, change }) => ({ kind, nameAtServer: name, change })),
    refused,
    excluded: excluded.map(({ definition: { kind }, nameAtServer, rule }) => ({ kind, nameAtServer, rule })),
    unmatched
  }
}

function hiddenOf (changes: MountInspection['changes']): PinChange[] {
  return (changes ?? []).filter(({ change }) => change !== 'removed')
}

function offeredNameOf (definition: Definition): string {
  switch (definition.kind) {
    case 'resource': return definition.uri
    case 'resource-template': return definition.uriTemplate
    default: return definition.name
  }
}

function describeMount (inspection: MountInspection): string {
  const { mount, offers, refused, excluded, changes, unmatched } = inspection
  return [
    describeState(inspection),
    ...alignColumns(offers.map(describeOffer)),
    ...hiddenOf(changes).map(({ kind, name, change }) =>
      `hidden: ${printableJson(name)} of ${kind} is ${change}: seed mounts diff ${mount.name}`),
    ...refused.map(({ offer, reason }) => `not offered: ${offer}: ${reason}`),
    ...describeExcluded(excluded),
    ...unmatched.map((name) => `without effect: ${name}`)
  ].map(withoutControls).map((line, index) => index === 0 ? line : `  ${line}`).join('\n')
}

const MAX_EXCLUDED_NAMES = 20

/** Names what each rule of the file excludes: a server may have hundreds of tools, of which a few are allowed. */
function describeExcluded (excluded: MountInspection['excluded']): string[] {
  const namesByRule = new Map<string, string[]>()
  for (const { rule, nameAtServer } of excluded) {
    const names = namesByRule.get(rule) ?? []
    namesByRule.set(rule, names)
    names.push(printableJson(nameAtServer))
  }
  return [...namesByRule].map(([rule, names]) => {
    const others = names.length - MAX_EXCLUDED_NAMES
    const shown = names.slice(0, MAX_EXCLUDED_NAMES).join(', ')
    return `excluded (${rule}): ${shown}${others > 0 ? ` and ${others} more` : ''}`
  })
}

const TEXTS = { not_started: 'cannot be started', refused: 'refuses Seed', unavailable: 'cannot be used' } as const

/** Tells in which of these ways a server is away, as the events of the log do. */
function stateAway ({ process }: Mount, { isRefusal }: Failure): keyof typeof TEXTS {
  if (!isRefusal) return 'unavailable'
  return process === undefined ? 'refused' : 'not_started'
}

function describeState ({ mount, place, state }: MountInspection): string {
  const text = state.isConnected
    ? `connected, MCP ${state.revision}`
    : `${TEXTS[stateAway(mount, state)]}: ${state.reason}`
  return `${mount.name} (${'url' in place ? place.url : place.command}): ${text}`
}

function describeOffer ({ definition, nameAtServer }: MountedOffer): string[] {
  const rules = describePolicy(definition)
  return [describeDefinition(definition), `is ${printableJson(nameAtServer)}`, rules === 'nothing' ? 'for all' : rules]
}

function alignColumns (rows: readonly string[][]): string[] {
  const widthOf = (column: number): number => Math.min(60, Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((text, column) => text.padEnd(widthOf(column))).join('  ').trimEnd())
}

function showChanges (inspections: readonly MountInspection[], json: boolean, print: Print): number {
  const all = inspections.flatMap(({ mount, changes }) => changes!.map((change) => ({ mount: mount.name, ...change })))
  if (json) print(printableJson(all, 2))
  else print(all.map((one) => describeChange(one, one.mount)).join('\n\n') || 'Nothing differs from what was accepted')
  return all.length === 0 ? 0 : 1
}

async function accept (
  inspections: readonly MountInspection[], names: readonly string[], print: Print
): Promise<number> {
  const { writePins } = await import('../mounts/pins/pin-file.ts')
  for (const { mount, changes, current } of inspections) {
    const accepted = changes!.filter(({ name }) => names.length === 0 || names.includes(name))
    const unknown = names.filter((name) => !accepted.some((change) => change.name === name))
    if (unknown.length > 0) {
      throw new UsageError(`nothing that differs at ${mount.name} is called ${unknown.join(', ')}`)
    }
    const file = mount.pinFile!
    try {
      writePins(file, mount.name, applyChanges(mount.pins!, accepted, current))
    } catch (err) {
      throw new Error(`${file} cannot be written (${(err as NodeJS.ErrnoException).code}): run this where it can be, ` +
        'and deploy the file')
    }
    for (const { kind, name, change } of accepted) print(`${mount.name}: ${kind} ${printableJson(name)} (${change})`)
    print(`${file} has what ${mount.name} offers${names.length === 0 ? '' : ', as far as it is named'}: ` +
      'deploy it, and restart Seed')
  }
  return 0
}

function applyChanges (pins: Pins, changes: readonly PinChange[], current: Pins): Pins {
  const apply = (kind: PinKind): [PinKind, Map<string, Pin>] => {
    const result = new Map(pins[kind])
    for (const { name } of changes.filter((change) => change.kind === kind)) {
      const pin = current[kind].get(name)
      if (pin === undefined) result.delete(name)
      else result.set(name, pin)
    }
    return [kind, result]
  }
  return Object.fromEntries(PIN_KINDS.map(apply)) as Record<PinKind, Map<string, Pin>>
}
