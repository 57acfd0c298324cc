import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EVENTS } from '../../src/logging/events.ts'
import type { EventName } from '../../src/logging/events.ts'
import { ROOT } from '../support/root.ts'

const sources = ['src', 'plugins', 'routes']
  .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true }).map((name) => join(folder, String(name))))
  // The template becomes a part of other projects, whose log lines have no event of Seed's.
  .filter((path) => path.endsWith('.ts') && path !== 'src/import/client-template.ts')
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))

/** Written without a logger, or by one that has the event already. */
const OTHERS: readonly EventName[] = ['request', 'log.lines_lost', 'server.not_started']

t.test('each log line has an event of the registry, at its level, and each event is used', async (t) => {
  const used = new Set<string>(OTHERS)
  for (const { path, text } of sources) {
    for (const [, level, rest] of text.matchAll(/\blog\??\.(info|warn|error|fatal)\(([^\n]*)/g)) {
      // What a tool logs has no event of Seed's, and is passed on.
      if (rest!.startsWith('{ ...bound') || rest!.startsWith('...args')) continue
      const event = /^\{ event: '([\w.]+)'/.exec(rest!)?.[1] as EventName
      t.equal(EVENTS[event]?.level, level, `${path}: ${level}(${rest}`)
      used.add(event)
    }
  }
  t.same(Object.keys(EVENTS).filter((event) => !used.has(event)), [], 'an event that no line has')
})

t.test('docs/events.md lists every event (UPDATE_DOCS=1 writes it)', async (t) => {
  const path = join(ROOT, 'docs/events.md')
  const rows = Object.entries(EVENTS).map(([event, { level, meaning }]) => `| \`${event}\` | ${level} | ${meaning} |`)
  const table = ['| event | level | meaning |', '|---|---|---|', ...rows].join('\n')
  const text = readFileSync(path, 'utf8')
  const expected = `${text.slice(0, text.indexOf('| event |'))}${table}\n`
  if (process.env['UPDATE_DOCS'] !== undefined) writeFileSync(path, expected)
  t.equal(readFileSync(path, 'utf8'), expected)
})
