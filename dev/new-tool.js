import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * `npm run new:tool NAME`: writes a tool and its test into the current folder of the repository. It is JavaScript, as
 * it must work before anything is compiled.
 */
const [name = ''] = process.argv.slice(2)

/** As the protocol allows them (tools, names), in the case that files and clients share. */
if (!/^[a-z][a-z0-9]*([_-][a-z0-9]+)*$/.test(name) || name.length > 64) {
  const given = name === '' ? '' : ` (it is ${JSON.stringify(name)})`
  fail(
    'Usage: npm run new:tool NAME, where NAME is lower case with _ or - between words, ' +
      `at most 64 characters: close_ticket${given}`
  )
}

const kebab = name.replaceAll('_', '-')
const camel = kebab.replace(/-([a-z0-9])/g, (_, letter) => letter.toUpperCase())
const words = kebab.replaceAll('-', ' ')
const title = words[0].toUpperCase() + words.slice(1)

const tool = `import { Type, defineTool } from '../index.ts'

export const ${camel}Tool = defineTool({
  name: '${name}',
  title: '${title}',
  description: 'Says what this tool does, and when a model should use it.',
  input: Type.Object({
    text: Type.String({ description: 'What the model should know of this argument' })
  }, { additionalProperties: false }),
  output: Type.Object({
    text: Type.String(),
    caller: Type.String()
  }),
  annotations: { readOnlyHint: true },
  handler ({ text }, { principal }) {
    return { text, caller: principal?.subject ?? 'nobody' }
  }
})
`

const test = `import t from 'tap'
import { createTestClient } from '../../src/testing/index.ts'
import { ${camel}Tool } from '../../src/tools/${kebab}.ts'

for (const era of ['2025-11-25', '2026-07-28'] as const) {
  t.test(\`${name} answers, \${era}\`, async (t) => {
    const client = await createTestClient({ definitions: [${camel}Tool], principal: { subject: 'ada' }, era })
    t.teardown(async () => { await client.close() })
    const { structuredContent } = await client.callTool('${name}', { text: 'hello' })
    t.same(structuredContent, { text: 'hello', caller: 'ada' })
  })
}

t.test('${name} is for nobody in particular where nobody signs in', async (t) => {
  const client = await createTestClient({ definitions: [${camel}Tool] })
  t.teardown(async () => { await client.close() })
  t.match(await client.callTool('${name}', { text: 'hello' }), { structuredContent: { caller: 'nobody' } })
})
`

const [toolFile, testFile] = [`src/tools/${kebab}.ts`, `test/tools/${kebab}.test.ts`]
for (const [file, content] of [[toolFile, tool], [testFile, test]]) {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content, { flag: 'wx' })
  } catch (err) {
    fail(
      err.code === 'EEXIST'
        ? `${file} exists already: choose another name, or remove it`
        : `${file} cannot be written (${err.code})`
    )
  }
}
console.log(`
  Wrote ${toolFile} and ${testFile}. Next:

    1. Say in ${toolFile} what it takes, gives and does.
       With \`npm run dev\`, each save is live at once.
    2. npm test -- ${testFile}
`)

function fail (message) {
  console.error(message)
  process.exit(1)
}
