import t from 'tap'
import { addressBucket } from '../../src/oauth/registration.ts'

t.test('an address counts as itself in IPv4, and as its /64 in IPv6, however it is written', async (t) => {
  for (const [address, bucket] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:0002::ffff', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:1::1', '2001:db8:0:0::/64'],
    ['2001::1:2:3:4:5', '2001:0:0:1::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['fe80::2%eth1', 'fe80:0:0:0::/64']
  ] as const) t.equal(addressBucket(address), bucket, address)
})

t.test('a port behind the address, as some proxies add it, does not make another address', async (t) => {
  for (const [address, bucket] of [
    ['192.0.2.1:50123', '192.0.2.1'],
    ['192.0.2.1:50124', '192.0.2.1'],
    ['[2001:db8::1]:443', '2001:db8:0:0::/64'],
    ['[2001:db8::1]', '2001:db8:0:0::/64'],
    ['[::ffff:192.0.2.1]:1', '192.0.2.1'],
    ['unknown', 'unknown'],
    ['_hidden', '_hidden']
  ] as const) t.equal(addressBucket(address), bucket, address)
})
