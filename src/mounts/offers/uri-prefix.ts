import { startOfTemplate } from '../../define/uri-template.ts'
import type { Offers } from '../connection/lists.ts'
import type { Mount } from '../settings/mounts-file.ts'

/** Returns a name of a tool or prompt of a mounted server as clients see it. */
export function offeredName ({ name: mount, prefix = true }: Pick<Mount, 'name' | 'prefix'>, name: string): string {
  return prefix ? `${mount}_${name}` : name
}

/** URIs that a client follows by itself, unless the server offers them as resources (MCP 2025-11-25, https://). */
const FOLLOWED_BY_CLIENTS = /^(https?|data):/i

/**
 * The URIs of a mounted server as clients see them: its name is a prefix of the scheme (`tickets+file:///a.txt`), so
 * that servers cannot claim each other's URIs. Only `ui://` keeps its scheme, by which clients know the resources of
 * MCP Apps: there the name is the authority (`ui://tickets/view.html`). A mount with `prefix: false` keeps its URIs.
 */
export class UriPrefix {
  readonly #scheme: string
  readonly #ui: string
  readonly #offers: Pick<Offers, 'resources' | 'templates'>

  constructor (
    { name, prefix = true }: Pick<Mount, 'name' | 'prefix'>, offers: Pick<Offers, 'resources' | 'templates'>
  ) {
    this.#offers = offers
    this.#scheme = prefix ? `${name}+` : ''
    this.#ui = prefix ? `ui://${name}/` : 'ui://'
  }

  /** Returns a URI, or a URI template, of the mounted server as clients see it. */
  add (uri: string): string {
    return uri.startsWith('ui://') ? `${this.#ui}${uri.slice(5)}` : `${this.#scheme}${uri}`
  }

  /** Returns a URI of a client as the mounted server knows it. */
  remove (uri: string): string {
    return uri.startsWith(this.#ui) ? `ui://${uri.slice(this.#ui.length)}` : uri.slice(this.#scheme.length)
  }

  /** Returns a result whose resource links, embedded resources and contents have URIs that clients can use. */
  addToResult <Result extends object> (result: Result): Result {
    const { content, messages, contents } = result as Record<string, unknown>
    return {
      ...result,
      ...(Array.isArray(content) && { content: content.map((block) => this.#addToBlock(block)) }),
      ...(Array.isArray(messages) && { messages: messages.map((message: Members) => this.#addToMessage(message)) }),
      ...(Array.isArray(contents) && { contents: contents.map((one: Members) => this.#addToMember(one)) })
    }
  }

  #addToMessage (message: Members): Members {
    return { ...message, content: this.#addToBlock(message['content'] as Members) }
  }

  #addToBlock (block: Members): Members {
    if (block['type'] === 'resource_link') return this.#addToLink(block)
    if (block['type'] !== 'resource') return block
    return { ...block, resource: this.#addToLink(block['resource'] as Members) }
  }

  #addToLink (link: Members): Members {
    const uri = String(link['uri'])
    return FOLLOWED_BY_CLIENTS.test(uri) && !this.#isOffered(uri) ? link : this.#addToMember(link)
  }

  #isOffered (uri: string): boolean {
    const { resources, templates } = this.#offers
    return resources.some((one) => one.uri === uri) ||
      templates.some(({ uriTemplate }) => uri.startsWith(startOfTemplate(uriTemplate)))
  }

  #addToMember (member: Members): Members {
    return { ...member, uri: this.add(String(member['uri'])) }
  }
}

type Members = Record<string, unknown>
