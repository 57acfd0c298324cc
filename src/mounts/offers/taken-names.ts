import { describeDefinition } from '../../define/definition.ts'
import type { Definition } from '../../define/definition.ts'
import { startOfTemplate } from '../../define/uri-template.ts'
import type { RefusedOffer } from './definitions.ts'
import type { Mount } from '../settings/mounts-file.ts'

/**
 * The names and URIs that a mounted server cannot have: those of Seed and its extensions, and for a mount without a
 * prefix also all that could be offered by Seed or another mount, now or later.
 */
export class TakenNames {
  readonly #own: ReadonlySet<string>
  /** The text before the first variable of each template of Seed and its extensions. */
  readonly #templateStarts: readonly string[]
  readonly #mounts: readonly string[]

  constructor (own: readonly Definition[], mounts: readonly Mount[]) {
    this.#own = new Set(own.map(describeDefinition))
    this.#templateStarts = own.flatMap((one) =>
      one.kind === 'resource-template' ? [startOfTemplate(one.uriTemplate)] : [])
    this.#mounts = ['seed', ...mounts.map(({ name }) => name)]
  }

  /** Divides the definitions of a mount into those that it can offer and the others. */
  divide (definitions: readonly Definition[], mount: Mount): { offered: Definition[], refused: RefusedOffer[] } {
    const offered: Definition[] = []
    const refused: RefusedOffer[] = []
    for (const definition of definitions) {
      const reason = this.reasonAgainst(definition, mount)
      if (reason === undefined) offered.push(definition)
      else refused.push({ offer: describeDefinition(definition).slice(0, 200), reason })
    }
    return { offered, refused }
  }

  /** Returns why a mount cannot offer a definition, if it cannot. */
  reasonAgainst (definition: Definition, mount: Mount): string | undefined {
    if (this.#own.has(describeDefinition(definition))) return 'the name is in use'
    if (mount.prefix !== false) return undefined
    const others = this.#mounts.filter((name) => name !== mount.name)
    switch (definition.kind) {
      case 'resource': return this.#reasonAgainstUri(others, (start) => definition.uri.startsWith(start))
      case 'resource-template': {
        const own = startOfTemplate(definition.uriTemplate)
        return this.#reasonAgainstUri(others, (start) => own.startsWith(start) || start.startsWith(own))
      }
      default: {
        const other = others.find((name) => definition.name.startsWith(`${name}_`))
        return other === undefined ? undefined : `it begins with ${other}_, as everything of ${other} does`
      }
    }
  }

  /** @param covers whether a URI that begins so could be the one that is offered */
  #reasonAgainstUri (others: readonly string[], covers: (start: string) => boolean): string | undefined {
    const other = others.find((name) => covers(`${name}+`) || covers(`ui://${name}/`))
    if (other !== undefined) return `its URIs could be those of ${other}`
    const start = this.#templateStarts.find(covers)
    return start === undefined ? undefined : `its URIs could be those of a resource template that begins with ${start}`
  }
}
