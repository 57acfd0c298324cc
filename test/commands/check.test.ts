import t from 'tap'
import { writeEndpoints } from '../support/endpoints.ts'
import { runCommand } from '../support/run-command.ts'
import { writeMounts } from '../support/upstream.ts'

const VALID = { OIDC_ISSUER: 'https://id.example.com', OIDC_AUDIENCE: 'seed' }

t.test('seed check says what the server would run with', async (t) => {
  t.match(await runCommand(['check'], VALID), {
    code: 0,
    printedErrors: '',
    printed: [
      'The settings are valid.',
      '  MCP endpoint  http://localhost:3000/mcp (listens on localhost, port 3000)',
      '  Sign-in       proxy mode, provider https://id.example.com',
      '  Store         memory',
      '  Extensions    none\n'
    ].join('\n')
  })
  const { printed } = await runCommand(['check'], {
    AUTH_REQUIRED: 'false', REDIS_URL: 'redis://:very-secret@redis:6379', SEED_EXTENSIONS: '/a,/b'
  })
  t.match(printed, /Sign-in +none \(AUTH_REQUIRED=false\)\n {2}Store +Redis\n {2}Extensions +\/a, \/b\n/)
  t.notMatch(printed, 'very-secret')
  const SEED_ENDPOINTS = await writeEndpoints({ endpoints: { sales: {}, ops: {} } })
  const further = await runCommand(['check'], { AUTH_REQUIRED: 'false', SEED_ENDPOINTS })
  t.match(further.printed, [
    '  MCP endpoint  http://localhost:3000/mcp (listens on localhost, port 3000)',
    '  MCP endpoint  http://localhost:3000/mcp/ops',
    '  MCP endpoint  http://localhost:3000/mcp/sales\n'
  ].join('\n'))
})

t.test('seed check names every setting that needs attention, and ends with 1', async (t) => {
  const environment = { PORT: 'many', OAUTH_MODE: 'broker', BASE_URL: 'http://seed.example.com' }
  const { code, printed, printedErrors } = await runCommand(['check'], environment)
  t.match({ code, printed }, { code: 1, printed: '' })
  t.match(printedErrors, /^\d settings need attention \(see \.env\.example\):\n/)
  for (const setting of ['PORT', 'BASE_URL', 'OIDC_ISSUER']) t.match(printedErrors, new RegExp(`^  - ${setting} `, 'm'))

  const one = await runCommand(['check'], { ...VALID, PORT: 'many' })
  t.match(one.printedErrors, /^One setting needs attention.*\n {2}- PORT must be a whole number \(it is "many"\)\n$/)
})

t.test('seed check --json is for scripts', async (t) => {
  const valid = await runCommand(['check', '--json'], VALID)
  t.match({ code: valid.code, report: JSON.parse(valid.printed) }, { code: 0, report: { valid: true, problems: [] } })
  const invalid = await runCommand(['check', '--json'], { ...VALID, PORT: 'many' })
  t.match({ code: invalid.code, report: JSON.parse(invalid.printed) }, {
    code: 1,
    report: { valid: false, problems: [{ setting: 'PORT', message: /whole number/ }] }
  })
})

t.test('seed check reads the file of SEED_MOUNTS and the secrets that it names, as the start does', async (t) => {
  const missing = await runCommand(['check'], { ...VALID, SEED_MOUNTS: '/nowhere/mounts.yaml' })
  t.equal(missing.code, 1)
  t.match(missing.printedErrors, /SEED_MOUNTS \(\/nowhere\/mounts.yaml\): the file cannot be read \(ENOENT\)/)
  const SEED_MOUNTS = await writeMounts({
    a: { url: 'https://a.example/mcp', secret: { file: 'none' } }, b: { url: 'nonsense' }
  })
  const wrong = await runCommand(['check', '--json'], { ...VALID, SEED_MOUNTS })
  t.match({ code: wrong.code, report: JSON.parse(wrong.printed) }, {
    code: 1,
    report: { valid: false, problems: [{ setting: 'SEED_MOUNTS', message: /"a": secret.file/ }, { message: /"b": url/ }] }
  })
  const sound = await writeMounts({ a: { url: 'https://a.example/mcp' } })
  t.equal((await runCommand(['check'], { ...VALID, SEED_MOUNTS: sound })).code, 0)
})
