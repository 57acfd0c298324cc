import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'

/**
 * A certificate for host names and addresses that nobody signed but itself: PEM, good for two days, as its own `ca`.
 */
export function selfSigned (t: Test, names: string[]): { key: string, cert: string } {
  const folder = t.testdir()
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subjects = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',')
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=Seed', '-addext', `subjectAltName=${subjects}`, '-keyout', key, '-out', cert
  ], { stdio: 'pipe' })
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
}

/** A private CA and a certificate that it signed for host names and addresses: PEM, and the files it is in. */
export function privatelySigned (
  t: Test,
  names: string[]
): { ca: string; files: Record<'ca' | 'key' | 'cert', string> } {
  const folder = t.testdir()
  const inFolder = (name: string): string => join(folder, name)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const subjects = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',')
  writeFileSync(inFolder('extensions'), `subjectAltName=${subjects}\n`)
  for (const args of [
    [
      'req',
      '-x509',
      ...newKey,
      '-days',
      '2',
      '-subj',
      '/CN=Private CA',
      '-keyout',
      inFolder('ca-key.pem'),
      '-out',
      inFolder('ca.pem')
    ],
    ['req', ...newKey, '-subj', '/CN=Redis', '-keyout', inFolder('key.pem'), '-out', inFolder('request.pem')],
    [
      'x509',
      '-req',
      '-in',
      inFolder('request.pem'),
      '-CA',
      inFolder('ca.pem'),
      '-CAkey',
      inFolder('ca-key.pem'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      inFolder('extensions'),
      '-out',
      inFolder('cert.pem')
    ]
  ]) { execFileSync('openssl', args, { stdio: 'pipe' }) }
  const files = { ca: inFolder('ca.pem'), key: inFolder('key.pem'), cert: inFolder('cert.pem') }
  return { ca: readFileSync(files.ca, 'utf8'), files }
}
