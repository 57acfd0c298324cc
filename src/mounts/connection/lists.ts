import type {
  Client, Prompt, RequestMethod, RequestOptions, Resource, ResourceTemplateType, Tool
} from '@modelcontextprotocol/client'
import type { CacheHint } from '@modelcontextprotocol/server'
import { mergeHints } from '../../define/cache-hint.ts'
import { readCacheHint } from './cache-hint.ts'

/** Everything that a mounted server offers, as it says. */
export interface Offers {
  tools: readonly Tool[]
  prompts: readonly Prompt[]
  resources: readonly Resource[]
  templates: readonly ResourceTemplateType[]
  /** Whether it completes arguments. */
  completes: boolean
}

/** What a mounted server says about keeping its lists; undefined for a list of which it says nothing. */
export type ListHints = Record<'tools' | 'prompts' | 'resources' | 'templates', Required<CacheHint> | undefined>

/** All lists of a mounted server, as it gives them at one time. */
export interface FetchedLists {
  offers: Offers
  hints: ListHints
}

interface FetchedList<Item> {
  items: readonly Item[]
  hint: Required<CacheHint> | undefined
}

/** Limits of lists: they are kept in memory, and sent to every client. */
const MAX_ITEMS = 1_000
const MAX_PAGES = 100
const MAX_LIST_CHARACTERS = 4 * 1024 * 1024

const METHOD_NOT_FOUND = -32601

/**
 * Fetches all lists of a mounted server.
 *
 * @param timeoutMs limit of each page
 * @throws any error if one of them cannot be had
 */
export async function fetchOffers (client: Client, timeoutMs: number): Promise<FetchedLists> {
  const { tools, prompts, resources, completions } = client.getServerCapabilities()!
  const list = async <Item>(method: RequestMethod, member: string): Promise<FetchedList<Item>> =>
    await fetchList<Item>(client, { method, member, timeoutMs })
  const lists = {
    tools: tools === undefined ? NO_LIST : await list<Tool>('tools/list', 'tools'),
    prompts: prompts === undefined ? NO_LIST : await list<Prompt>('prompts/list', 'prompts'),
    resources: resources === undefined ? NO_LIST : await list<Resource>('resources/list', 'resources'),
    templates: resources === undefined ? NO_LIST : await fetchTemplates(client, timeoutMs)
  }
  return {
    offers: {
      tools: lists.tools.items,
      prompts: lists.prompts.items,
      resources: lists.resources.items,
      templates: lists.templates.items,
      completes: completions !== undefined
    },
    hints: {
      tools: lists.tools.hint,
      prompts: lists.prompts.hint,
      resources: lists.resources.hint,
      templates: lists.templates.hint
    }
  }
}

const NO_LIST: FetchedList<never> = { items: [], hint: undefined }

/** Servers with resources need not know templates. */
async function fetchTemplates (client: Client, timeoutMs: number): Promise<FetchedList<ResourceTemplateType>> {
  try {
    return await fetchList(client, { method: 'resources/templates/list', member: 'resourceTemplates', timeoutMs })
  } catch (err) {
    if ((err as { code?: unknown }).code === METHOD_NOT_FOUND) return NO_LIST
    throw err
  }
}

async function fetchList<Item> (
  client: Client, { method, member, timeoutMs }: { method: RequestMethod, member: string, timeoutMs: number }
): Promise<FetchedList<Item>> {
  const items: Item[] = []
  const hints: Array<Required<CacheHint>> = []
  const options: RequestOptions = { timeout: timeoutMs }
  let characters = 0
  let cursor: string | undefined
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const params = cursor === undefined ? {} : { cursor }
    const page = await client.request({ method, params } as { method: 'tools/list' }, options)
    const found = (page as unknown as Record<string, Item[]>)[member]!
    characters += JSON.stringify(found).length
    items.push(...found)
    if (items.length > MAX_ITEMS) throw new Error(`offers more than ${MAX_ITEMS} ${member}`)
    if (characters > MAX_LIST_CHARACTERS) throw new Error(`the list of ${member} is longer than 4 MiB`)
    const hint = readCacheHint(page)
    if (hint !== undefined) hints.push(hint)
    cursor = page.nextCursor
    if (cursor === undefined) {
      const [first, ...others] = hints
      return { items, hint: first && mergeHints(first, ...others) }
    }
  }
  throw new Error(`the list of ${member} has more than ${MAX_PAGES} pages`)
}
