import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * `npm run new:tool NAME`: writes a tool and its test into the current folder of the repository. It is JavaScript, as
 * it must work before anything is compiled.
 */
const [name = ''] = process.argv.slice(2)

// Narrower than the protocol's rule for tool names: the name becomes that of a file and of a variable, too.
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
  description: 'Tells the model what this tool does, and when to use it.',
  input: Type.Object({
    text: Type.String({ description: 'Tells the model what to pass here' })
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

for (const protocolVersion of ['2025-11-25', '2026-07-28'] as const) {
  t.test(\`${name} returns its text and the caller, \${protocolVersion}\`, async (t) => {
    const principal = { subject: 'ada' }
    const client = await createTestClient({ definitions: [${camel}Tool], principal, protocolVersion })
    t.teardown(async () => { await client.close() })
    const { structuredContent } = await client.callTool('${name}', { text: 'hello' })
    t.same(structuredContent, { text: 'hello', caller: 'ada' })
  })
}

t.test('${name} works without sign-in', async (t) => {
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

    1. Fill in ${toolFile}: description, input, output, policy and handler.
       With \`npm run dev\`, every save takes effect at once.
    2. npm test -- ${testFile}
`)

function fail (message) {
  console.error(message)
  process.exit(1)
}
