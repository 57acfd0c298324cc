import type { Finding, Report } from './finding.ts'

const TITLES: Record<string, string> = {
  configuration: 'Configuration',
  provider: 'OpenID provider',
  'trusted-issuers': 'Trusted issuers',
  store: 'Redis',
  'public-url': 'Public URL',
  'sign-in': 'Sign-in',
  network: 'Network',
  mounts: 'Mounted MCP servers',
  tools: 'Tools, prompts and resources'
}

const SIGNS: Record<Finding['severity'], string> = {
  ok: 'ok     ', warning: 'WARNING', error: 'ERROR  ', unknown: 'unknown'
}

const EXIT_CODES: Record<Report['result'], number> = { ok: 0, warning: 1, error: 2 }

const CONCLUSIONS: Record<Report['result'], string> = {
  ok: 'Nothing is wrong that could be checked.',
  warning: 'It works, but look at the warnings.',
  error: 'It would not work: correct what is marked ERROR.'
}

/** Makes the report; no value in `secrets` is left in it. */
export function createReport (findings: readonly Finding[], secrets: readonly string[]): Report {
  const has = (severity: Finding['severity']): boolean => findings.some((finding) => finding.severity === severity)
  return {
    result: has('error') ? 'error' : has('warning') ? 'warning' : 'ok',
    findings: findings.map((finding) => redact(finding, allForms(secrets)))
  }
}

export function exitCodeOf ({ result }: Report): number {
  return EXIT_CODES[result]
}

/** Prints a report for people: a line for what is right, and the details of the rest. */
export function printReport ({ result, findings }: Report): string {
  const sections = Object.entries(TITLES).flatMap(([group, title]) => {
    const members = findings.filter(({ check }) => check.startsWith(`${group}.`))
    return members.length === 0 ? [] : [[title, ...members.map(describe)].join('\n')]
  })
  return [...sections, CONCLUSIONS[result]].join('\n\n')
}

function describe ({ check, severity, asked, answered, meaning, setting, value }: Finding): string {
  const name = check.slice(check.indexOf('.') + 1)
  const head = `  ${SIGNS[severity]}  ${name}: ${meaning}`
  if (severity === 'ok') return head
  const details = [`asked: ${asked}`, `answered: ${answered}`]
  if (setting !== undefined) details.push(`change: ${value === undefined ? setting : `${setting}=${value}`}`)
  return [head, ...details.map((line) => `           ${line}`)].join('\n')
}

/** The secrets, and the parts of those that contain one: the password of a URL, the secrets of OAUTH_CLIENTS. */
function allForms (secrets: readonly string[]): string[] {
  const parts = secrets.flatMap((secret) => [
    ...[...secret.matchAll(/"client_secret"\s*:\s*"([^"]+)"/g)].map(([, value]) => value!),
    ...[...secret.matchAll(/^[a-z+]+:\/\/[^/@]*?:([^/]+)@/gi)].map(([, password]) => password!)
  ])
  return [...secrets, ...parts, ...parts.map(decode)].filter((secret) => secret.length >= 4)
    .sort((a, b) => b.length - a.length)
}

function decode (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function redact (finding: Finding, secrets: readonly string[]): Finding {
  const entries = Object.entries(finding).map(([name, value]) =>
    [name, secrets.reduce((text, secret) => text.replaceAll(secret, '[secret]'), value)])
  return Object.fromEntries(entries) as Finding
}
