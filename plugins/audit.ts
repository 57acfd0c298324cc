import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createAuditLog } from '../src/audit/audit-log.ts'
import type { AuditLog } from '../src/audit/audit-log.ts'
import { clientKindOf } from '../src/audit/client-kind.ts'
import { describeConfiguration } from '../src/audit/configuration.ts'
import { COUNT_MS, createLimitedRefusals } from '../src/audit/limited-refusals.ts'
import { recordAnnouncedRevocations } from '../src/audit/operator-revocations.ts'
import { createRequestRecorder } from '../src/http/audit-requests.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined with AUDIT_LOG=off. */
    audit: AuditLog | undefined
  }
}

export interface AuditOptions {
  /** The output of the log, for AUDIT_LOG=stdout. */
  stdout: { write (line: string): unknown }
}

/**
 * Shares the audit log, and writes the lines of requests. With AUDIT_LOG=off there is neither log nor hook.
 *
 * @throws Error if the file cannot be opened
 */
async function audit (app: FastifyInstance, { stdout }: AuditOptions): Promise<void> {
  const { config, keyring, log, mounts } = app
  app.decorateRequest('auditEntry', undefined)
  app.decorateRequest('isRecorded', false)
  if (config.audit.target === 'off') {
    app.decorate('audit', undefined)
    return
  }
  const auditLog = createAuditLog({ audit: config.audit, generation: keyring.generations[0]!, stdout, log })
  app.decorate('audit', auditLog)
  const limitedRefusals = createLimitedRefusals(auditLog)
  const timer = setInterval(limitedRefusals.flush, COUNT_MS).unref()
  const record = createRequestRecorder(auditLog, limitedRefusals, clientKindOf(config))
  app.addHook('onResponse', (request, reply, done) => {
    record(request, reply)
    done()
  })
  recordAnnouncedRevocations(app.store, auditLog)
  const configuration = describeConfiguration(config, mounts?.description)
  auditLog.record({ event: 'configuration', outcome: 'ok', configuration })

  if (config.audit.target !== 'stdout') {
    const reopen = (): void => { auditLog.reopen() }
    process.on('SIGHUP', reopen)
    app.addHook('onClose', async () => { process.removeListener('SIGHUP', reopen) })
  }
  app.addHook('onClose', async () => {
    clearInterval(timer)
    limitedRefusals.flush()
    await auditLog.close()
  })
}

export default fp(audit, { name: 'audit', dependencies: ['config', 'mounts', 'redis', 'keyring'], fastify: '5.x' })
