import { printableJson } from '../../json/printable.ts'
import type { PinChange, PinKind } from './pins.ts'

const NOUNS: Record<PinKind, string> = {
  tools: 'Tool', prompts: 'Prompt', resources: 'Resource', resourceTemplates: 'Resource template'
}

/**
 * Shows a change for people: the place of each value that differs, and the value before (-) and now (+), a long text
 * line by line. What a terminal would not show as it is, is escaped.
 */
export function describeChange ({ kind, name, change, accepted, offered }: PinChange, mount: string): string {
  const [before, now] = [leavesOf(accepted), leavesOf(offered)]
  const places = [...new Set([...before.keys(), ...now.keys()])].sort()
  return [
    `${NOUNS[kind]} ${printableJson(name)} of ${mount}: ${change}`,
    ...places.flatMap((place) => describeDifference(place, before.get(place), now.get(place)))
  ].join('\n')
}

/** Returns the values that are neither an object nor a list, or are empty, by their place: `inputSchema.type`. */
function leavesOf (value: unknown): Map<string, unknown> {
  const leaves = new Map<string, unknown>()
  const visit = (one: unknown, place: string): void => {
    const members = typeof one === 'object' && one !== null ? Object.entries(one) : []
    if (members.length === 0) leaves.set(place, one)
    for (const [name, member] of members) visit(member, place === '' ? toPlace(name) : `${place}.${toPlace(name)}`)
  }
  if (value !== undefined) visit(value, '')
  return leaves
}

/** Quotes a name that could pass for something else, such as the place of another value. */
function toPlace (name: string): string {
  return /^[\w$-]+$/.test(name) ? name : printableJson(name)
}

function describeDifference (place: string, before: unknown, now: unknown): string[] {
  const [old, new_] = [toLines(before), toLines(now)]
  if (old.join('\n') === new_.join('\n')) return []
  let start = 0
  while (start < old.length && old[start] === new_[start]) start++
  let end = 0
  while (end < Math.min(old.length, new_.length) - start && old.at(-1 - end) === new_.at(-1 - end)) end++
  return [
    `  ${place}`,
    ...old.slice(start, old.length - end).map((line) => `    - ${line}`),
    ...new_.slice(start, new_.length - end).map((line) => `    + ${line}`)
  ]
}

function toLines (value: unknown): string[] {
  if (value === undefined) return []
  if (typeof value !== 'string') return [printableJson(value)]
  return value.split('\n').map((line) => printableJson(line))
}
