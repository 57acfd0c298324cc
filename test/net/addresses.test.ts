import t from 'tap'
import {
  clientAddressKey, clientNetworkKey, createAddressMatcher, isLoopbackAddress, isLoopbackHost, isPublicAddress
} from '../../src/net/addresses.ts'

/** The first and the last address of each range, and what lies just outside it where that is public. */
const refused = {
  'this network': ['0.0.0.0', '0.255.255.255'],
  private: ['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255'],
  'carrier-grade NAT, with the metadata service of Alibaba': ['100.64.0.0', '100.100.100.200', '100.127.255.255'],
  loopback: ['127.0.0.0', '127.0.0.1', '127.255.255.255'],
  'the host of a virtual machine on Azure': ['168.63.129.16'],
  'link-local, with the metadata service of most clouds': ['169.254.0.0', '169.254.169.254', '169.254.255.255'],
  'protocol assignments, with the metadata service of Oracle': ['192.0.0.0', '192.0.0.192', '192.0.0.255'],
  documentation: ['192.0.2.0', '192.0.2.255', '198.51.100.0', '198.51.100.255', '203.0.113.0', '203.0.113.255'],
  '6to4 relays': ['192.88.99.0', '192.88.99.255'],
  benchmarking: ['198.18.0.0', '198.19.255.255'],
  'multicast, reserved, broadcast': ['224.0.0.0', '239.255.255.255', '240.0.0.0', '255.255.255.254', '255.255.255.255'],

  'unspecified and loopback of IPv6': ['::', '::1', '0:0:0:0:0:0:0:1', '::2'],
  'an IPv4 address inside, mapped or compatible': [
    '::ffff:127.0.0.1', '::ffff:7f00:1', '::FFFF:10.0.0.1', '::ffff:8.8.8.8', '::127.0.0.1', '::8.8.8.8',
    '::ffff:0:8.8.8.8'
  ],
  'NAT64, of whatever IPv4 address': [
    '64:ff9b::', '64:ff9b::7f00:1', '64:ff9b::127.0.0.1', '64:ff9b::8.8.8.8', '64:ff9b:1::',
    '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'
  ],
  '6to4, of whatever IPv4 address': [
    '2002::', '2002:7f00:1::', '2002:808:808::1', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff'
  ],
  'discard-only': ['100::', '100::1', '100:0:0:1::'],
  'protocol assignments and Teredo': ['2001::', '2001:0:7f00:1::1', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff'],
  'documentation of IPv6': [
    '2001:db8::', '2001:DB8:ffff:ffff:ffff:ffff:ffff:ffff', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff'
  ],
  'segment routing': ['5f00::', '5f00::1'],
  'unique local': ['fc00::', 'fd00::1', 'fd00:ec2::254', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  'link-local and site-local of IPv6': ['fe80::', 'fe80::1', 'febf::1', 'fec0::1', 'feff::1'],
  'multicast of IPv6': ['ff00::', 'ff02::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  'outside of global unicast': ['1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '4000::', '8000::1', 'f000::1'],
  'with a zone id': ['fe80::1%eth0', '2606:4700::1111%eth0', '::1%1'],
  'no address': [
    '', 'localhost', 'a.example', '2130706433', '0x7f.1', '127.1', '0177.0.0.1', '08.8.8.8', '8.8.8', '8.8.8.8.',
    ' 8.8.8.8', '8.8.8.8:443', '8.8.8.0/24', '[2606:4700::1111]', '2606:4700::1111::', '2606:4700::g', 'undefined'
  ]
}

t.test('addresses that are not on the public internet are told apart', async (t) => {
  for (const [range, addresses] of Object.entries(refused)) {
    for (const address of addresses) t.equal(isPublicAddress(address), false, `${address} (${range})`)
  }
})

t.test('public addresses are public', async (t) => {
  for (const address of [
    '1.0.0.0', '1.1.1.1', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255',
    '128.0.0.0',
    '168.63.129.15', '168.63.129.17', '169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0',
    '191.255.255.255', '192.0.1.0', '192.0.3.0', '192.88.98.255', '192.88.100.0',
    '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '198.51.99.255', '198.51.101.0', '203.0.112.255',
    '203.0.114.0', '223.255.255.255',
    '2000::', '2000::1', '2001:200::', '2001:4860:4860::8888', '2001:db7:ffff::', '2001:db9::', '2001:ffff::',
    '2003::1', '2606:4700::1111', '2606:4700::8.8.8.8', '2A00:1450::1', '3ffe::1', '3fff:1000::', '3fff:ffff::1'
  ]) t.equal(isPublicAddress(address), true, address)
})

t.test('localhost, 127.0.0.1 and ::1 are the names of this machine, and nothing else is', async (t) => {
  for (const name of ['localhost', '127.0.0.1', '::1', '[::1]']) t.ok(isLoopbackHost(name))
  for (const name of [
    'localhost.', 'LOCALHOST', '127.0.0.2', '127.1', '0.0.0.0', '[::]', '', 'localhost.example', '[::ffff:127.0.0.1]'
  ]) t.notOk(isLoopbackHost(name), name)
})

t.test('the key of an address is itself in IPv4 and its /64 network in IPv6, in any spelling', async (t) => {
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
  ] as const) t.equal(clientAddressKey(address), bucket, address)
})

t.test('a client that has disconnected has a key, too', async (t) => {
  t.equal(clientAddressKey(undefined), 'disconnected')
  t.equal(clientNetworkKey(undefined), 'disconnected')
})

t.test('the networks of one IPv6 site have one key, an IPv4 address its own', async (t) => {
  for (const [address, site] of [
    ['2001:db8:1:2::1', '2001:db8:1::/48'],
    ['2001:db8:1:ffff::1', '2001:db8:1::/48'],
    ['2001:db8::1', '2001:db8:0::/48'],
    ['192.0.2.1:1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1']
  ] as const) t.equal(clientNetworkKey(address), site, address)
})

t.test('a port that a proxy appended to the address is left out of the key', async (t) => {
  for (const [address, bucket] of [
    ['192.0.2.1:50123', '192.0.2.1'],
    ['192.0.2.1:50124', '192.0.2.1'],
    ['[2001:db8::1]:443', '2001:db8:0:0::/64'],
    ['[2001:db8::1]', '2001:db8:0:0::/64'],
    ['[::ffff:192.0.2.1]:1', '192.0.2.1'],
    ['unknown', 'unknown'],
    ['_hidden', '_hidden']
  ] as const) t.equal(clientAddressKey(address), bucket, address)
})

t.test('an IP address of the loopback interface is known in every form', async (t) => {
  for (const address of [
    '127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1'
  ]) t.ok(isLoopbackAddress(address), address)
  for (const address of [
    '128.0.0.1', '10.0.0.1', '::', '::2', '::ffff:10.0.0.1', 'localhost', ''
  ]) t.notOk(isLoopbackAddress(address), address)
})

t.test('a matcher of addresses and CIDR ranges', async (t) => {
  const isTrusted = createAddressMatcher([
    '10.0.0.0/8', '192.0.2.1', '2001:db8::/32', 'fe80::1%eth0', '::ffff:172.16.0.0/108'
  ])
  for (const address of [
    '10.1.2.3', '::ffff:10.1.2.3', '192.0.2.1', '2001:db8::1', '2001:DB8:ffff::', 'fe80::1%eth0', '172.16.0.1'
  ]) t.ok(isTrusted(address), address)
  for (const address of [
    '11.0.0.1', '192.0.2.2', '2001:db9::1', '172.32.0.1', '10.0.0.1:80', 'unknown', ''
  ]) t.notOk(isTrusted(address), address)
  const trustsNobody = createAddressMatcher([])
  t.notOk(trustsNobody('127.0.0.1'))
})
