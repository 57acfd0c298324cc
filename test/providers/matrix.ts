import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from '../support/root.ts'
import { ROWS } from './provider.ts'
import type { Configuration, Provider, Row } from './provider.ts'
import type { Column } from './scenario.ts'

const DOCUMENT = join(ROOT, 'docs/providers.md')
const BEGIN = (name: string): string => `<!-- npm run providers: ${name} -->`
const END = (name: string): string => `<!-- end of ${name} -->`

export interface Result {
  configuration: Configuration
  column: Column
}

/** Returns the section of a provider: its matrix, the reasons of what was not run, and the settings that were used. */
export function renderProvider ({ title, version }: Provider, results: Result[]): string {
  const rows = [...new Set(results.flatMap(({ column }) => [...column.keys()]))]
  const notes: string[] = []
  const cell = (column: Column, row: Row): string => {
    const outcome = column.get(row)
    if (outcome === undefined) return ''
    if (outcome.works === true) return 'yes'
    if (!notes.includes(outcome.reason)) notes.push(outcome.reason)
    return `${outcome.works === false ? '**no**' : '–'} (${notes.indexOf(outcome.reason) + 1})`
  }
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`
  const table = [
    line(['', ...results.map(({ configuration }) => configuration.name)]),
    line(Array.from({ length: results.length + 1 }, () => '---')),
    ...rows.map((row) => line([
      ROWS[row as keyof typeof ROWS] ?? row,
      ...results.map(({ column }) => cell(column, row))
    ]))
  ]
  return [
    `### ${title} ${version}`,
    '',
    ...table,
    '',
    ...notes.map((note, index) => `${index + 1}. ${note.replaceAll('|', '\\|').replaceAll('\n', ' ')}`),
    ...(notes.length > 0 ? [''] : []),
    'Settings, beyond `BASE_URL`, `SEED_SECRET` and `OIDC_ISSUER`:',
    '',
    ...results.map(({ configuration }) => `- ${configuration.name}: ${settingsOf(configuration)}`)
  ].join('\n')
}

/** Seed's, whose port differs from run to run. */
const SEED_URL = /http:\/\/127\.0\.0\.1:\d+/
/** A provider has a port of its own each time, too. */
const PROVIDER_URL = /^http:\/\/(localhost|\[[^\]]+\]):\d+\//

function settingsOf ({ mode, env }: Configuration): string {
  return Object.entries({ OAUTH_MODE: mode, ...env }).map(([name, value]) => `\`${name}=${shown(name, value)}\``).join(', ')
}

function shown (name: string, value: string): string {
  if (/SECRET|KEY|CLIENT_ID|OAUTH_CLIENTS/.test(name)) return '…'
  if (name === 'OIDC_ISSUER' || PROVIDER_URL.test(value)) return `…${new URL(value).pathname}`
  return value.replace(SEED_URL, 'BASE_URL')
}

/** Replaces a provider's section in docs/providers.md, or adds it before the end of all. */
export async function writeSection (name: string, section: string): Promise<void> {
  const document = await readFile(DOCUMENT, 'utf8')
  const block = `${BEGIN(name)}\n${section}\n${END(name)}`
  const from = document.indexOf(BEGIN(name))
  const to = document.indexOf(END(name))
  const end = document.indexOf(END('all'))
  if (end === -1) throw new Error(`${DOCUMENT} has no line ${END('all')}`)
  await writeFile(DOCUMENT, from === -1
    ? `${document.slice(0, end)}${block}\n\n${document.slice(end)}`
    : `${document.slice(0, from)}${block}${document.slice(to + END(name).length)}`)
}
