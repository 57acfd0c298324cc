import { AccessDeniedError } from '../../src/errors/sign-in-errors.ts'
import t from 'tap'
import { checkAccess, claimsOfRules } from '../../src/tokens/access-rules.ts'
import type { AccessRules } from '../../src/tokens/access-rules.ts'

/** Access rules. Over HTTP: flows/presets, ship/consent-in-chromium. */
const open: AccessRules = {
  groups: [],
  emailDomains: [],
  unverifiedEmail: false,
  hostedDomains: [],
  claims: [],
  contact: undefined,
  groupsClaim: 'groups',
  groupPaths: false
}

function refusal (claims: Record<string, unknown>, rules: Partial<AccessRules>): AccessDeniedError | undefined {
  try {
    checkAccess(claims, { ...open, ...rules })
    return undefined
  } catch (err) {
    return err as AccessDeniedError
  }
}

t.test('without rules everyone who can sign in at the provider is admitted', async (t) => {
  t.equal(refusal({}, {}), undefined)
})

t.test('groups: one exact match is enough', async (t) => {
  const rules = { groups: ['engineering', 'ops'], contact: 'it@example.com' }
  t.equal(refusal({ groups: ['sales', 'ops'] }, rules), undefined)
  for (const groups of [
    ['Engineering'],
    ['engineering-interns'],
    [],
    undefined,
    { engineering: true },
    'Engineering'
  ]) {
    t.match(refusal({ groups }, rules), {
      rule: 'ACCESS_GROUPS',
      message: 'You are not in a group that may use this server',
      contact: 'it@example.com'
    })
  }
  t.match(refusal({}, rules)!.detail, /OIDC_GROUPS_CLAIM/, 'the log says where groups were looked for')
  t.match(
    refusal({ groups: ['Engineering', 'sales'] }, rules)!.detail,
    /^ACCESS_GROUPS: the groups sent \["Engineering","sales"\], admitted \["engineering"/,
    'the log shows both lists'
  )
  t.ok(refusal({ groups: Array.from({ length: 1_000 }, (_, n) => `group-${n}`) }, rules)!.detail!.length < 1_200)
  t.equal(
    refusal({ groups: [{ name: 'engineering' }] }, rules)!.detail,
    'ACCESS_GROUPS: "groups" (OIDC_GROUPS_CLAIM) is neither a string nor a list of strings'
  )
  t.equal(refusal({ groups: 'engineering' }, rules), undefined, 'a string is one group')
  t.match(refusal({ hasgroups: true }, rules), { message: /more groups than/, detail: /Entra ID/ })
  t.match(refusal({ _claim_names: { groups: 'src1' } }, rules), { message: /more groups than/ })
})

t.test('e-mail domains: the whole domain, and only of a verified address', async (t) => {
  const rules = { emailDomains: ['example.com'] }
  t.equal(refusal({ email: 'ada@EXAMPLE.com', email_verified: true }, rules), undefined)
  t.equal(refusal({ email: 'ada@example.com', email_verified: 'true' }, rules), undefined)
  t.equal(refusal({ email: 'ada@example.com' }, { ...rules, unverifiedEmail: true }), undefined)
  for (const email of [
    'ada@example.com.evil.example',
    'ada@sub.example.com',
    'example.com@evil.example',
    '"a@example.com"@evil.example',
    '',
    undefined,
    7
  ]) {
    t.match(refusal({ email, email_verified: true }, rules), { rule: 'ACCESS_EMAIL_DOMAINS' }, String(email))
  }
  for (const verified of [false, undefined, 'yes', 1]) {
    t.match(
      refusal({ email: 'ada@example.com', email_verified: verified }, rules),
      { rule: 'ACCESS_EMAIL_DOMAINS', message: /not confirmed/, detail: /ACCESS_EMAIL_UNVERIFIED/ },
      String(verified)
    )
  }
})

t.test('hosted domains: the signed hd claim, not the address', async (t) => {
  const rules = { hostedDomains: ['example.com'] }
  t.equal(refusal({ hd: 'Example.com' }, rules), undefined)
  for (const hd of ['evil.example', undefined, ['example.com']]) {
    t.match(refusal({ hd, email: 'ada@example.com', email_verified: true }, rules), { rule: 'ACCESS_HOSTED_DOMAINS' })
  }
})

t.test('claims: each must have its value, or contain it', async (t) => {
  const rules = { claims: [{ claim: 'department', values: ['Engineering'] }, { claim: 'active', values: ['true'] }] }
  t.equal(refusal({ department: 'Engineering', active: true }, rules), undefined)
  t.equal(refusal({ department: ['Sales', 'Engineering'], active: 'true' }, rules), undefined)
  t.match(refusal({ department: 'Engineering' }, rules), { rule: 'ACCESS_CLAIMS', detail: 'claim "active"' })
  t.match(refusal({ department: 'Engineering2', active: true }, rules), {
    rule: 'ACCESS_CLAIMS',
    detail: 'claim "department"'
  })
})

t.test('all rules that are set must match', async (t) => {
  const rules = { groups: ['ops'], emailDomains: ['example.com'] }
  t.match(refusal({ groups: ['ops'], email: 'a@other.example', email_verified: true }, rules), {
    rule: 'ACCESS_EMAIL_DOMAINS'
  })
  t.match(refusal({ groups: [], email: 'a@example.com', email_verified: true }, rules), { rule: 'ACCESS_GROUPS' })
})

t.test('an e-mail address has one @ with something before it: nothing else counts as of the domain', async (t) => {
  const rules = { emailDomains: ['example.com'] }
  for (const email of [
    'example.com', '@example.com', 'x@evil.com@example.com', '"x@evil.com"@example.com', 'evil@evil.com\n@example.com',
    'a b@example.com', 'a@example.com\u0000', ''
  ]) t.match(refusal({ email, email_verified: true }, rules), { rule: 'ACCESS_EMAIL_DOMAINS' }, JSON.stringify(email))
  t.equal(refusal({ email: 'Ada.Lovelace+x@Example.COM', email_verified: true }, rules), undefined)
})

t.test('the rules of an endpoint say which claims a token must have', async (t) => {
  const none = { groups: [], emailDomains: [], hostedDomains: [], claims: [] }
  t.same(claimsOfRules({ access: { ...none, groups: ['ops'] } }), [])
  const claims = [{ claim: 'department', values: ['it'] }]
  t.same(claimsOfRules({ access: { ...none, emailDomains: ['example.com'], hostedDomains: ['example.com'], claims } }),
    ['email', 'email_verified', 'hd', 'department'])
})
