import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findComposeVariables } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problem.ts'
import { EnvSchema, SECRET_SETTINGS } from '../../src/config/schema.ts'
import { GOOD, PEM, SECRET, loadConfig, problemsOf } from '../support/config.ts'

const folder = t.testdir()

t.test('all problems are reported at once, each with its setting', async (t) => {
  const problems = await problemsOf(t, {
    PORT: 'many',
    LOG_LEVEL: 'loud',
    AUTH_REQUIRED: 'perhaps',
    DCR_CLIENT_TTL: '59',
    BASE_URL: 'http://seed.example.com',
    TRUST_PROXY: 'loopback',
    CORS_EXTRA_ORIGINS: 'https://claude.ai/',
    OIDC_SCOPES: 'profile',
    OIDC_ALGORITHMS: 'HS256',
    REDIRECT_URI_SCHEMES: 'javascript',
    REDIS_URL: 'redis',
    OIDC_CLIENT_SECRET_FILE: join(folder, 'missing'),
    SEED_SECRET: 'short',
    OAUTH_CLIENTS: '{}',
    ACCESS_CLAIMS: 'department'
  })
  for (const name of [
    'SEED_SECRET', 'OAUTH_CLIENTS', 'ACCESS_CLAIMS', 'PORT', 'LOG_LEVEL', 'AUTH_REQUIRED', 'DCR_CLIENT_TTL', 'BASE_URL',
    'TRUST_PROXY', 'CORS_EXTRA_ORIGINS', 'OIDC_SCOPES', 'OIDC_ALGORITHMS', 'REDIRECT_URI_SCHEMES', 'REDIS_URL',
    'OIDC_CLIENT_SECRET_FILE', 'OIDC_ISSUER', 'OIDC_AUDIENCE'
  ]) {
    t.equal(problems.filter((problem) => problem.startsWith(`${name} `)).length, 1, name)
  }
  t.equal(problems.length, 17)
})

t.test('the message counts the problems and has one line for each', async (t) => {
  await t.rejects(
    loadConfig({ ...GOOD, PORT: 'x' }),
    {
      name: 'ConfigError',
      message: 'Seed cannot start: one setting needs attention (see .env.example)\n' +
        '  - PORT must be a whole number (it is "x")'
    }
  )
  const { message } = await loadConfig({}).catch((err: unknown) => err) as ConfigError
  t.match(
    message,
    /^Seed cannot start: 2 settings need attention \(see \.env\.example\)\n {2}- OIDC_ISSUER is missing: set it to the issuer URL.*\n {2}- OIDC_AUDIENCE is missing: set it to the audience/
  )
})

t.test('a problem never shows a secret', async (t) => {
  writeFileSync(join(folder, 'redis'), 'http://:hunter2@redis')
  for (const env of [
    { REDIS_URL: 'http://:hunter2@redis' },
    { REDIS_URL_FILE: join(folder, 'redis') },
    { REDIS_URL: 'redis+sentinel://:hunter2@redis' },
    { REDIS_URL: 'redis://:hunter2%@redis' },
    { REDIS_SENTINEL_PASSWORD: 'hunter2' },
    { OIDC_CLIENT_SECRET: 'hunter2', OIDC_CLIENT_SECRET_FILE: join(folder, 'redis') },
    { BASE_URL: 'https://user:hunter2@seed.example.com' },
    { OIDC_ISSUER: 'http://user:hunter2@auth.example.com' },
    { OAUTH_TOKEN_URL: 'ftp://user:hunter2@auth.example.com' },
    { CORS_EXTRA_ORIGINS: 'https://user:hunter2@app.example' },
    { SEED_SECRET: 'hunter2' },
    { SEED_SECRET_PREVIOUS: 'hunter2' },
    { OIDC_CLIENT_KEY: 'hunter2' },
    { OAUTH_CLIENTS: '[{"client_secret":"hunter2"}]' },
    { OAUTH_CLIENTS: 'hunter2' }
  ]) {
    for (const problem of await problemsOf(t, { ...GOOD, ...env })) t.notMatch(problem, 'hunter2', problem)
  }
})

t.test('an empty value counts as unset, and spaces around a value are ignored', async (t) => {
  const config = await loadConfig({
    ...Object.fromEntries(Object.keys(EnvSchema.properties).map((name) => [name, '  '])),
    OIDC_ISSUER: ` ${GOOD.OIDC_ISSUER}\n`,
    OIDC_AUDIENCE: '\tseed-client ',
    HOME: '/root'
  })
  t.same(config, { ...await loadConfig(GOOD), inheritedVariables: { HOME: '/root' } })
  t.same(await loadConfig({ ...GOOD, BASE_URL: undefined, REDIS_URL: '' }), await loadConfig(GOOD))
})

t.test('a secret can come from a file', async (t) => {
  t.same(SECRET_SETTINGS, [
    'SERVER_INSTRUCTIONS', 'AUDIT_CHAIN_KEY', 'SEED_SECRET', 'SEED_SECRET_PREVIOUS', 'OIDC_CLIENT_SECRET',
    'OIDC_CLIENT_KEY', 'REDIS_URL',
    'REDIS_SENTINEL_PASSWORD', 'REDIS_TLS_CA', 'OAUTH_CLIENTS', 'TRUSTED_ISSUERS'
  ])
  writeFileSync(join(folder, 'secret'), 's3cret\n')
  writeFileSync(join(folder, 'redis-url'), ' redis://:pw@redis:6379\n')
  const config = await loadConfig({
    ...GOOD,
    OIDC_CLIENT_SECRET_FILE: join(folder, 'secret'),
    REDIS_URL_FILE: join(folder, 'redis-url')
  })
  t.equal(config.oidc.clientSecret, 's3cret')
  t.equal(config.redis.url, 'redis://:pw@redis:6379')
  writeFileSync(join(folder, 'key'), `${PEM}\n`)
  writeFileSync(
    join(folder, 'clients'),
    '[\n  { "client_id": "ci", "redirect_uris": ["https://ci.example.com/cb"] }\n]\n'
  )
  writeFileSync(join(folder, 'seed-secret'), `${SECRET}\n`)
  const more = await loadConfig({
    ...GOOD,
    OIDC_CLIENT_KEY_FILE: join(folder, 'key'),
    OAUTH_CLIENTS_FILE: join(folder, 'clients'),
    SEED_SECRET_FILE: join(folder, 'seed-secret'),
    SEED_SECRET_PREVIOUS_FILE: join(folder, 'seed-secret')
  })
  t.match(
    { key: more.oidc.clientKey, clients: more.oauth.configuredClients, ...more.secrets },
    { key: PEM, clients: [{ id: 'ci' }], current: SECRET, previous: SECRET },
    'values of several lines too'
  )
  t.same(
    await problemsOf(t, { ...GOOD, REDIS_URL: 'redis://redis', REDIS_URL_FILE: join(folder, 'redis-url') }),
    ['REDIS_URL and REDIS_URL_FILE are both set: keep one of them']
  )
  t.same(
    await problemsOf(t, { ...GOOD, OIDC_CLIENT_SECRET_FILE: join(folder, 'missing') }),
    ['OIDC_CLIENT_SECRET_FILE cannot be read (ENOENT): set it to a file that Seed may read']
  )
  t.same(
    await problemsOf(t, { ...GOOD, OIDC_CLIENT_SECRET_FILE: folder }),
    ['OIDC_CLIENT_SECRET_FILE cannot be read (EISDIR): set it to a file that Seed may read']
  )
  writeFileSync(join(folder, 'empty'), '\n')
  for (const name of SECRET_SETTINGS) {
    t.equal(
      (await problemsOf(t, { ...GOOD, [`${name}_FILE`]: join(folder, 'empty') }))[0],
      `${name}_FILE names an empty file: put the value into it`,
      'an empty secret would silently mean none'
    )
  }
})

t.test('a .env file is read, and the environment takes precedence', async (t) => {
  const path = join(t.testdir({
    '.env': '# a comment\nOIDC_ISSUER=https://file.example\nOIDC_AUDIENCE="from the file"\nPORT=4000\nLOG_LEVEL=debug\n'
  }), '.env')
  const config = await loadConfig({ PORT: '5000', LOG_LEVEL: '' }, path)
  t.match(
    config,
    { port: 5_000, logLevel: 'debug', oidc: { issuer: 'https://file.example', audience: 'from the file' } },
    'an empty variable does not hide the file'
  )
  await t.rejects(loadConfig({}), ConfigError, 'by default no file is read')
  t.equal((await loadConfig(GOOD, join(folder, 'no-such.env'))).port, 3_000, 'a missing file is no error')
})

t.test('the environment that is passed in stays unchanged', async (t) => {
  writeFileSync(join(folder, 'secret'), 's3cret')
  const env = Object.freeze({ ...GOOD, PORT: ' 3000 ', OIDC_CLIENT_SECRET_FILE: join(folder, 'secret') })
  await loadConfig(env)
  t.same(env, { ...GOOD, PORT: ' 3000 ', OIDC_CLIENT_SECRET_FILE: join(folder, 'secret') })
})

t.test('quotes and comments that Docker passes on as part of a value are refused with the reason', async (t) => {
  for (const value of ['"x"', "'a,b'", '`x`']) {
    t.match(await problemsOf(t, { ...GOOD, ACCESS_GROUPS: value }), [/^ACCESS_GROUPS is in quotes, .* remove them/])
  }
  const secret = `"${SECRET}"`
  const [problem, ...more] = await problemsOf(t, { ...GOOD, SEED_SECRET: secret })
  t.match(problem, /^SEED_SECRET is in quotes/)
  t.notMatch(problem, SECRET)
  t.same(more, [])
  t.match(await problemsOf(t, { ...GOOD, ACCESS_GROUPS: 'engineering # those' }), [/^ACCESS_GROUPS contains a comment/])
  t.match(await loadConfig({ ...GOOD, ACCESS_GROUPS: 'Team #1' }), { access: { groups: ['Team #1'] } })
})

t.test('a # in .env at which Node.js would cut the value, and Docker not, is refused', async (t) => {
  for (const line of ['OIDC_CLIENT_SECRET=abc#def', 'OIDC_CLIENT_SECRET=#abc']) {
    const path = join(t.testdir({ env: `${line}\n` }), 'env')
    await t.rejects(loadConfig(GOOD, path), /OIDC_CLIENT_SECRET in .* contains a #/)
    t.ok(await loadConfig({ ...GOOD, OIDC_CLIENT_SECRET: 'abc' }, path), 'the environment takes precedence')
  }
  const path = join(t.testdir({ env: '#OIDC_CLIENT_SECRET=a#b\nACCESS_CONTACT="a#b"\n# A=b#c\n' }), 'env')
  t.match(await loadConfig(GOOD, path), { access: { contact: 'a#b' } })
})

t.test('a $ in .env, which Compose takes for a variable, is a warning with the reason', async (t) => {
  const find = (line: string, environment = {}) =>
    findComposeVariables(environment, join(t.testdir({ env: `${line}\n` }), 'env'))
  // eslint-disable-next-line no-template-curly-in-string -- this is what Compose replaces
  for (const value of ['pa${w}x', 'pa$word', 'a$$b', '"pa$word"', ' pa$w']) {
    t.match(find(`OIDC_CLIENT_SECRET=${value}`), [{ setting: 'OIDC_CLIENT_SECRET', message: /contains a \$.*NAME_FILE/ }])
  }
  for (const value of ["'pa$word'", 'pa$', 'a$-b', 'plain']) t.same(find(`OIDC_CLIENT_SECRET=${value}`), [], value)
  t.same(find('OTHER=pa$word'), [], 'no setting of Seed')
  t.same(find('OIDC_CLIENT_SECRET=pa$word', { OIDC_CLIENT_SECRET: 'x' }), [], 'the environment takes precedence')
  t.same(findComposeVariables({}, false), [])
  t.same(findComposeVariables({}, join(folder, 'no-such.env')), [])
})
