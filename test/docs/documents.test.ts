import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { existsSync, readdirSync } from 'node:fs'
import t from 'tap'
import { ROOT } from '../support/root.ts'

const IGNORED = /^(\.|node_modules$|dist$)/
/** A link to this repository: its target, and the anchor behind it. */
const LINK = /\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g
const folders = ['.', ...readdirSync(ROOT, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
  .filter((path) => !path.split('/').some((part) => IGNORED.test(part)))]
const documents = folders.flatMap((folder) => readdirSync(join(ROOT, folder))
  .filter((name) => name.endsWith('.md'))
  .map((name) => join(folder, name)))

t.test('every link in a document leads to a file and a heading that exist', async (t) => {
  for (const document of documents) {
    for (const [, target, anchor] of withoutCode(await read(document)).matchAll(LINK)) {
      const file = target === '' ? document : join(dirname(document), target!)
      const isThere = existsSync(join(ROOT, file))
      t.ok(isThere, `${document}: ${target}`)
      if (!isThere || anchor === undefined) continue
      t.ok((await headings(file)).includes(anchor), `${document}: ${file}#${anchor}`)
    }
  }
})

t.test('every folder of the sources has a README', async (t) => {
  for (const folder of folders.filter((path) => /^(src|plugins|routes)(\/|$)/.test(path))) {
    t.ok(existsSync(join(ROOT, folder, 'README.md')), folder)
  }
})

t.test('every file that a document names exists, except in examples', async (t) => {
  for (const document of documents) {
    for (const [, path] of (await read(document)).matchAll(/`((?:[\w-]+\/)*[\w.-]+\.(?:ts|js|mjs))`/g)) {
      if (/NAME|close-ticket/.test(path!)) continue
      const places = [dirname(document), '.', 'src', 'test']
      t.ok(places.some((place) => existsSync(join(ROOT, place, path!))), `${document}: ${path}`)
    }
  }
})

async function read (document: string): Promise<string> {
  return await readFile(join(ROOT, document), 'utf8')
}

function withoutCode (markdown: string): string {
  return markdown.replace(/^ *```[\s\S]*?^ *```/gm, '').replace(/`[^`\n]*`/g, '')
}

/** The anchors of a document's headings, as GitHub makes them. */
async function headings (document: string): Promise<string[]> {
  return [...(await read(document)).replace(/^ *```[\s\S]*?^ *```/gm, '').matchAll(/^#+ (.*)$/gm)]
    .map(([, title]) => title!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}
