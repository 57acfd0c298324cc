import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { DEV, emptyFolder, startProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { ready } from '../support/seed.ts'
import { until } from '../support/until.ts'

/** The commands of docs/first-steps.md, run in order by one bash after the other, against `npm run dev`. */
const DOCUMENT = join(ROOT, 'docs/first-steps.md')
const ADA = { login: 'ada', password: 'ada' }

for (const mode of ['proxy', 'broker']) {
  t.test(`every command of docs/first-steps.md gets what the page shows: ${mode} mode`, async (t) => {
    const bash = await startBash(t, mode)
    let lastOutput = ''
    let count = 0
    for (const { language, code, line } of codeBlocks(await readFile(DOCUMENT, 'utf8'))) {
      if (language === 'bash') {
        count++
        const isPasted = code.startsWith('read ')
        const callback = isPasted ? (await createBrowser().signIn(lastOutput.trim(), ADA)).href : ''
        lastOutput = await bash.run(code, isPasted ? `${callback}\n` : '')
      } else if (language !== 'console') {
        compare(t, lastOutput, bash.localize(code), `docs/first-steps.md:${line}`)
      }
    }
    t.ok(count > 15, 'the page has commands')
  })
}

interface CodeBlock {
  language: string
  code: string
  line: number
}

function codeBlocks (markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(({ 1: language, 2: code, index }) => ({
    language: language!, code: code!, line: markdown.slice(0, index).split('\n').length
  }))
}

/** Runs commands in one folder, with the variables that the earlier ones set, against Seed on a port of its own. */
async function startBash (t: Test, mode: string) {
  const port = String(await freePort())
  const url = `http://localhost:${port}`
  const folder = await emptyFolder(t)
  startProcess(t, ['--enable-source-maps', DEV], {
    PORT: port, DEV_PROVIDER_PORT: String(await freePort()), OAUTH_MODE: mode
  }, await emptyFolder(t))
  await until(async () => await fetch(`${url}/health`).then(() => true, () => false), 'Seed listens')
  await ready({ url })
  // What `npm run` needs of the repository.
  for (const name of ['package.json', 'dev', 'src', 'plugins', 'routes', 'node_modules']) {
    await symlink(join(ROOT, name), join(folder, name))
  }
  const localize = (code: string): string => code.replaceAll('localhost:3000', `localhost:${port}`)
    .replaceAll('localhost%3A3000', `localhost%3A${port}`)

  /** @param input of the command, as if it were typed */
  async function run (code: string, input: string): Promise<string> {
    const script = `if [ -e variables ]; then . ./variables; fi\n${localize(code)}\n` +
      'declare -p $(compgen -v | grep -E "^[A-Z_]+$" | grep -vE "^(BASH.*|EUID|PPID|SHELLOPTS|UID|_)$") > variables'
    // Without the hooks that tap puts into NODE_OPTIONS: a dozen short programs of Node run here.
    const bash = spawn('env', ['-u', 'NODE_OPTIONS', 'bash', '-c', script], {
      cwd: folder, stdio: ['pipe', 'pipe', 'pipe']
    })
    bash.stdin.end(input)
    let visit: Promise<unknown> | undefined
    let errors = ''
    bash.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      errors += chunk
      // The command line prints the address to open while it waits for the browser.
      const address = /^http\S+\/oauth\/authorize\S+$/m.exec(errors)?.[0]
      if (address !== undefined) visit ??= createBrowser().signIn(address, ADA).then(async (back) => await fetch(back))
    })
    const [output, [exitCode]] = await Promise.all([text(bash.stdout), once(bash, 'close')])
    await visit
    if (exitCode !== 0) throw new Error(`${code} ended with ${String(exitCode)}: ${errors}`)
    return output
  }

  return { run, localize }
}

/**
 * Compares output with what the page shows: lines of text (a status, headers) and JSON, or either. `…` stands for any
 * text; a member `…` for members that were left out.
 */
function compare (t: Test, output: string, shown: string, place: string): void {
  const [actual, expected] = [splitJson(output), splitJson(shown)]
  for (const line of expected.lines) {
    t.ok(actual.lines.some((candidate) => matches(line, candidate)), `${place}: ${line}`)
  }
  const wrong = expected.json === undefined ? [] : differences(expected.json, actual.json, '')
  t.same(wrong, [], `${place}: JSON`)
}

function splitJson (output: string): { lines: string[], json: unknown } {
  const lines = output.trim().split(/\r?\n/)
  const start = lines.findIndex((line) => line.startsWith('{') || line === 'true')
  const json = start === -1 ? undefined : JSON.parse(lines.slice(start).join('\n'))
  return { lines: (start === -1 ? lines : lines.slice(0, start)).filter((line) => line !== ''), json }
}

function matches (pattern: string, value: string): boolean {
  const source = pattern.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*')
  return new RegExp(`^${source}$`).test(value)
}

/** Lists the differences, by path. */
function differences (expected: unknown, actual: unknown, path: string): string[] {
  if (expected === '…') return actual === undefined ? [`${path} is missing`] : []
  if (typeof expected === 'string' && typeof actual === 'string' && matches(expected, actual)) return []
  if (Array.isArray(expected) && Array.isArray(actual)) {
    const rest = expected.length === actual.length ? [] : [`${path} has ${actual.length} elements`]
    return [...rest, ...expected.flatMap((element, index) => differences(element, actual[index], `${path}[${index}]`))]
  }
  if (isObject(expected) && isObject(actual)) {
    const { '…': more, ...members } = expected
    const unshown = more === undefined ? Object.keys(actual).filter((name) => !(name in members)) : []
    return [
      ...unshown.map((name) => `${path}.${name} is not shown`),
      ...Object.entries(members).flatMap(([name, member]) => differences(member, actual[name], `${path}.${name}`))
    ]
  }
  return expected === actual ? [] : [`${path} is ${JSON.stringify(actual)}`]
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
