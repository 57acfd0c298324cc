import { existsSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Argument } from '@commander-js/extra-typings'
import { VERSION } from '../config/version.ts'
import { UsageError, defineCommand } from './command.ts'
import { projectFiles, toolFiles } from './project-template.ts'

/** Narrower than the protocol's rule for tool names: the name becomes that of a file and of a variable, too. */
const TOOL_NAME = /^[a-z][a-z0-9]*([_-][a-z0-9]+)*$/
/** Names that npm and Docker accept. */
const PROJECT_NAME = /^[a-z0-9][a-z0-9._-]*$/

export const command = defineCommand({
  description: [
    'Writes a project of your own, with a tool, its test, TypeScript, Dockerfile and compose.yaml, ready to run and ' +
    'to test: Seed is one of its packages. Or writes one more tool and its test into the project in the current ' +
    'folder.',
    'Nothing that exists is overwritten.'
  ],
  examples: [
    ['seed new project my-mcp-server', 'Write a project into the folder my-mcp-server'],
    ['npm create seed-mcp my-mcp-server', 'The same, where Seed is not installed'],
    ['seed new tool close_ticket', 'Write src/tools/close-ticket.ts and test/close-ticket.test.ts']
  ],

  declare: (parser) => parser
    .addArgument(new Argument('<kind>', 'what to write').choices(['project', 'tool'] as const))
    .argument('[name]', 'the folder of the project, or the name of the tool')
    .option('--package <spec>', 'where npm finds Seed: a version, a URL or a file', `^${VERSION}`),

  async run ({ package: seedPackage }, { print }, kind, name) {
    print(kind === 'project' ? await writeProject(name ?? 'my-mcp-server', seedPackage) : await writeTool(name ?? ''))
    return 0
  }
})

async function writeProject (path: string, seedPackage: string): Promise<string> {
  const folder = resolve(path)
  const name = basename(folder)
  if (!PROJECT_NAME.test(name)) {
    throw new UsageError(`the name of a project has lower case letters, digits, and . _ - (it is '${name}')`)
  }
  const entries = await readdir(folder).catch(() => [])
  if (entries.length > 0) throw new Error(`${folder} is not empty: choose another name, or another folder`)
  await writeFiles(folder, projectFiles({ name, seedPackage }))
  return `
  Wrote ${folder}. Next:

    cd ${path}
    npm install
    npm test
    npm run demo    # with a provider to sign in at, on this machine
`
}

async function writeTool (name: string): Promise<string> {
  if (!TOOL_NAME.test(name) || name.length > 64) {
    throw new UsageError('the name of a tool is lower case with _ or - between words, at most 64 characters: ' +
      `close_ticket (it is '${name}')`)
  }
  const files = toolFiles(name)
  for (const file of Object.keys(files)) {
    if (existsSync(file)) throw new Error(`${file} exists already: choose another name, or remove it`)
  }
  await writeFiles('.', files)
  const [tool, test] = Object.keys(files)
  return `
  Wrote ${tool} and ${test}. Next:

    1. Fill in ${tool}: description, input, output, policy and handler.
    2. npm test
`
}

async function writeFiles (folder: string, files: Record<string, string>): Promise<void> {
  for (const [file, content] of Object.entries(files)) {
    await mkdir(join(folder, dirname(file)), { recursive: true })
    await writeFile(join(folder, file), content, { flag: 'wx' })
  }
}
