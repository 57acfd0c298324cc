import { hostname } from 'node:os'
import type { Config } from '../config/config.ts'
import type { KeyGeneration } from '../crypto/keyring.ts'
import type { Log } from '../logging/log.ts'
import { createArgumentsDescription, redactTokens } from './arguments.ts'
import { openAuditFile } from './audit-file.ts'
import type { AuditFile, AuditFileOptions } from './audit-file.ts'
import { createChain, readChainState } from './chain.ts'
import type { AuditEntry, AuditRecord } from './record.ts'

export interface AuditLogOptions {
  audit: Config['audit']
  /** Gives the key of the digests of arguments. */
  generation: KeyGeneration
  /** The output of the log. Its `write` returns false for a line that it drops. */
  stdout: { write (line: string): unknown }
  log: Pick<Log, 'info' | 'error'>
  /** For tests. */
  file?: Omit<AuditFileOptions, 'onLost' | 'onWritten'>
}

export type AuditLog = ReturnType<typeof createAuditLog>

/** The part of the audit log that services use. */
export interface AuditTrail {
  record (entry: AuditEntry): void
}

/** Maximum time that the end of the server waits for the disk. */
const DRAIN_MS = 1_000
const REPLICA = `${hostname().slice(0, 255)}/${process.pid}`

/**
 * Writes the audit log to AUDIT_LOG. `record` never waits and never throws; what cannot be written is counted, and
 * later lines say how many lines were lost.
 *
 * @throws Error if the file cannot be opened
 */
export function createAuditLog (options: AuditLogOptions) {
  const { audit, generation, stdout, log } = options
  const describeArguments = createArgumentsDescription({
    form: audit.arguments, redact: audit.redact, key: generation.derive('audit', 32)
  })
  let lost = 0
  let isLosing = false

  function onLost (lines: number, reason: string): void {
    lost += lines
    if (isLosing) return
    isLosing = true
    log.error({ event: 'audit.lines_lost', target: audit.target, reason },
      'Lines of the audit log are lost: AUDIT_LOG cannot be written')
  }

  function onWritten (): void {
    if (!isLosing) return
    isLosing = false
    log.info({ event: 'audit.written_again', target: audit.target, lost }, 'The audit log is written again')
  }

  const file = audit.target === 'stdout' ? undefined : openFile(audit.target, { ...options.file, onLost, onWritten })
  const chain = createChainFor(audit.chainKey, file)

  function write (record: AuditRecord): void {
    const line = chain === undefined ? JSON.stringify(record) : chain.link(record)
    if ((file ?? stdout).write(`${line}\n`) === false) {
      onLost(1, 'too many lines wait to be written')
      return
    }
    chain?.commit()
    if (file === undefined) onWritten()
  }

  return {
    /** Lines that could not be written since the start. */
    get lost (): number { return lost },

    /** Writes a line. */
    record ({ event, outcome, arguments: given, configuration, ...entry }: AuditEntry): void {
      write({
        audit: 1,
        time: new Date().toISOString(),
        event,
        outcome,
        replica: REPLICA,
        ...clean(entry),
        ...describeArguments(given),
        ...(configuration !== undefined && { configuration }),
        ...(lost > 0 && { lost })
      })
    },

    /** Opens the file anew, after it was renamed. A file that cannot be opened is logged, and the old one goes on. */
    reopen (): void {
      try {
        file?.reopen()
        log.info({ event: 'audit.reopened', target: audit.target },
          'The file of the audit log was opened anew (SIGHUP)')
      } catch (err) {
        const reason = (err as Error).message
        log.error({ event: 'audit.reopen_failed', target: audit.target, reason },
          'AUDIT_LOG cannot be opened anew: lines go on into the old file')
      }
    },

    async close (): Promise<void> { await file?.close(DRAIN_MS) }
  }
}

/** @throws Error that names the setting */
function openFile (path: string, options: AuditFileOptions): AuditFile {
  try {
    return openAuditFile(path, options)
  } catch (err) {
    throw new Error(`AUDIT_LOG cannot be opened: ${(err as Error).message}`, { cause: err })
  }
}

/** Continues the chain of the file, if it ends with a line that was written with the same key. */
function createChainFor (key: string | undefined, file: AuditFile | undefined) {
  if (key === undefined) return undefined
  return createChain(key, file?.lastLine === undefined ? undefined : readChainState(file.lastLine, key))
}

const MAX_LENGTHS = { error: 64, request: 64, trace: 32, address: 64, grant: 64 } as Record<string, number>
const MAX_LENGTH = 512

/** Cuts long values, and removes what looks like a token from them. */
function clean (entry: Omit<AuditEntry, 'event' | 'outcome'>): Partial<AuditRecord> {
  const cleaned: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(entry)) {
    if (value === undefined) continue
    cleaned[name] = typeof value === 'string' ? redactTokens(value.slice(0, MAX_LENGTHS[name] ?? MAX_LENGTH)) : value
  }
  return cleaned
}
