import type { Test } from 'tap'
import type { Finding, Report } from '../../src/doctor/finding.ts'
import { CLI, emptyFolder, startProcess } from '../support/process.ts'
import { check } from './checks.ts'

/** The row of the matrix. */
export const DOCTOR_ROW = '`seed doctor` finds nothing wrong'

/** Warnings that are right about a configuration that works. Any other one would be wrong. */
const DESERVED: Array<{ check: string, why: string }> = [
  { check: 'store.connection', why: 'these servers keep everything in memory' },
  { check: 'provider.client-authentication', why: 'OIDC_CLIENT_AUTH is left unset, and setting it saves an attempt' },
  { check: 'provider.scopes', why: 'the provider takes offline_access, and does not list it' },
  { check: 'provider.revocation', why: 'the provider has no revocation endpoint' },
  { check: 'provider.revocation-request', why: 'the provider lets public clients revoke nothing' },
  { check: 'provider.authorization', why: 'in proxy mode the provider knows the port of the client in these tests only' },
  { check: 'provider.iss', why: 'in proxy mode some clients refuse its iss' },
  { check: 'provider.iss-in-answers', why: 'the same, and its document does not promise it' }
]

/** Runs `seed doctor` with the settings of a server that works: it ends with 0 or 1, and no finding is wrong. */
export async function expectSoundDiagnosis (t: Test, env: Record<string, string>): Promise<void> {
  const doctor = startProcess(t, [CLI, 'doctor', '--json'], env, await emptyFolder(t))
  const { code } = await doctor.ended
  const output = await doctor.output()
  const { findings } = JSON.parse(output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1)) as Report
  const isDeserved = (finding: Finding): boolean => DESERVED.some(({ check }) => check === finding.check)
  const wrong = findings.filter((finding) =>
    finding.severity === 'error' || (finding.severity === 'warning' && !isDeserved(finding)))
  check(wrong.length === 0, `findings that are wrong: ${wrong.map(describe).join('; ')}`)
  check(code === 0 || code === 1, `the exit code is ${code}`)
}

function describe ({ check, severity, answered, meaning, setting = '' }: Finding): string {
  return `${severity} ${check} ${setting}: ${answered}: ${meaning}`
}
