import t from 'tap'
import { tokenClaims } from '../../../../src/oauth/modes/broker/token-claims.ts'

t.test('an access token includes the granted claims, and groups under one name', async (t) => {
  const claims = {
    name: 'Ada',
    email: 'ada@example.com',
    email_verified: false,
    phone_number: '1',
    realm_access: { roles: ['/engineering'] },
    address: {}
  }
  t.same(tokenClaims(claims, 'openid profile email', { groupsClaim: 'realm_access.roles', groupPaths: true }, []), {
    name: 'Ada',
    email: 'ada@example.com',
    email_verified: false,
    groups: ['engineering']
  })
  t.same(
    tokenClaims(
      { hd: 'example.com', preferred_username: 'ada' },
      'openid profile email',
      { groupsClaim: 'groups', groupPaths: false },
      []
    ),
    { hd: 'example.com', preferred_username: 'ada' }
  )
  t.same(
    tokenClaims(
      { name: 'Ada', email: 'ada@example.com', groups: ['engineering'] },
      'openid',
      { groupsClaim: 'groups', groupPaths: false },
      []
    ),
    { groups: ['engineering'] },
    'no more than was consented to'
  )
  t.same(
    tokenClaims(claims, 'openid', { groupsClaim: 'groups', groupPaths: false }, [
      'phone_number',
      'realm_access.roles',
      'nothing'
    ]),
    { phone_number: '1', realm_access: claims.realm_access },
    'and what policies of tools ask for'
  )
})
