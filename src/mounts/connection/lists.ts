import type {
  Client, Prompt, RequestMethod, RequestOptions, Resource, ResourceTemplateType, Tool
} from '@modelcontextprotocol/client'

/** Everything that a mounted server offers, as it says. */
export interface Offers {
  tools: readonly Tool[]
  prompts: readonly Prompt[]
  resources: readonly Resource[]
  templates: readonly ResourceTemplateType[]
  /** Whether it completes arguments. */
  completes: boolean
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
export async function fetchOffers (client: Client, timeoutMs: number): Promise<Offers> {
  const { tools, prompts, resources, completions } = client.getServerCapabilities()!
  const list = async <Item>(method: RequestMethod, member: string): Promise<Item[]> =>
    await fetchList<Item>(client, { method, member, timeoutMs })
  return {
    tools: tools === undefined ? [] : await list<Tool>('tools/list', 'tools'),
    prompts: prompts === undefined ? [] : await list<Prompt>('prompts/list', 'prompts'),
    resources: resources === undefined ? [] : await list<Resource>('resources/list', 'resources'),
    templates: resources === undefined ? [] : await fetchTemplates(client, timeoutMs),
    completes: completions !== undefined
  }
}

/** Servers with resources need not know templates. */
async function fetchTemplates (client: Client, timeoutMs: number): Promise<ResourceTemplateType[]> {
  try {
    return await fetchList(client, { method: 'resources/templates/list', member: 'resourceTemplates', timeoutMs })
  } catch (err) {
    if ((err as { code?: unknown }).code === METHOD_NOT_FOUND) return []
    throw err
  }
}

async function fetchList<Item> (
  client: Client, { method, member, timeoutMs }: { method: RequestMethod, member: string, timeoutMs: number }
): Promise<Item[]> {
  const items: Item[] = []
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
    cursor = page.nextCursor
    if (cursor === undefined) return items
  }
  throw new Error(`the list of ${member} has more than ${MAX_PAGES} pages`)
}
