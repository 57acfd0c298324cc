import t from 'tap'
import { expectedIssuer, tenantIssuer } from '../../src/provider/issuer.ts'

const COMMON = 'https://login.microsoftonline.com/common/v2.0'

t.test('without tenants a token must name OIDC_ISSUER, whatever its tid', async (t) => {
  for (const claims of [{}, { tid: 'tenant-a' }, { iss: 'https://evil.example' }]) {
    t.equal(expectedIssuer({ issuer: COMMON, tenants: [] }, claims), COMMON)
  }
})

t.test('with tenants a token must name the issuer of its tid, if that tenant is listed', async (t) => {
  const options = { issuer: COMMON, tenants: ['tenant-a', 'tenant-b'] }
  t.equal(expectedIssuer(options, { tid: 'tenant-a' }), 'https://login.microsoftonline.com/tenant-a/v2.0')
  t.equal(expectedIssuer(options, { tid: 'tenant-b', iss: COMMON }), 'https://login.microsoftonline.com/tenant-b/v2.0')
  for (const tid of [
    undefined,
    null,
    '',
    'tenant-c',
    'TENANT-A',
    'common',
    ['tenant-a'],
    { toString: () => 'tenant-a' },
    7
  ]) {
    t.equal(expectedIssuer(options, { tid }), undefined, JSON.stringify(tid) ?? 'absent')
  }
})

t.test('the tenant replaces the first segment of the path, unchanged', async (t) => {
  for (const [issuer, expected] of [
    [COMMON, 'https://login.microsoftonline.com/T/v2.0'],
    ['https://login.microsoftonline.us/organizations/v2.0/', 'https://login.microsoftonline.us/T/v2.0/'],
    ['https://sts.windows.net/common/', 'https://sts.windows.net/T/'],
    ['http://127.0.0.1:9000/common', 'http://127.0.0.1:9000/T'],
    ['https://id.example.com', 'https://id.example.com'],
    ['https://id.example.com/', 'https://id.example.com/']
  ] as const) t.equal(tenantIssuer(issuer, 'T'), expected)
  t.equal(
    tenantIssuer(COMMON, '$1$&$`'),
    'https://login.microsoftonline.com/$1$&$`/v2.0',
    'no pattern of a replacement'
  )
})
