import type { RequestLog } from '../../define/context.ts'
import type { Failure } from '../connection/failure.ts'
import { describePlace } from '../settings/mount-place.ts'
import type { Mount } from '../settings/mounts-file.ts'

/** Logs each outage of a mounted server once, and once more if it turns out to be one that does not end by itself. */
export class OutageLog {
  readonly #mount: Mount
  readonly #log: RequestLog
  /** Whether the failure that was logged last is a refusal; undefined while the server is connected. */
  #loggedRefusal: boolean | undefined

  constructor (mount: Mount, log: RequestLog) {
    this.#mount = mount
    this.#log = log
  }

  write ({ reason, isRefusal }: Failure): void {
    if (this.#loggedRefusal === isRefusal) return
    this.#loggedRefusal = isRefusal
    const { name, process } = this.#mount
    const fields = { mount: name, ...describePlace(this.#mount), reason }
    if (isRefusal && process !== undefined) {
      this.#log.error({ event: 'mount.not_started', ...fields },
        'A mounted MCP server cannot be started: check its command and cwd in the file of SEED_MOUNTS')
    } else if (isRefusal) {
      this.#log.error({ event: 'mount.refused', ...fields },
        'A mounted MCP server refuses Seed: check its url and secret in the file of SEED_MOUNTS')
    } else {
      this.#log.warn({ event: 'mount.unavailable', ...fields },
        'A mounted MCP server cannot be used; Seed tries again by itself, and what the server offers fails meanwhile')
    }
  }

  /** The server is connected again. */
  end (): void {
    this.#loggedRefusal = undefined
  }
}
