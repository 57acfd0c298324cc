import { BlockList, isIP, isIPv6 } from 'node:net'

/** IPv4 networks that the IANA special-purpose registry calls not globally reachable, and those beyond unicast. */
const RESERVED_V4 = [
  ['0.0.0.0', 8], // this network
  ['10.0.0.0', 8], // private
  ['100.64.0.0', 10], // carrier-grade NAT
  ['127.0.0.0', 8], // loopback
  ['168.63.129.16', 32], // the host of a virtual machine on Azure
  ['169.254.0.0', 16], // link-local, with the metadata services of clouds
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // protocol assignments
  ['192.0.2.0', 24], // documentation
  ['192.88.99.0', 24], // 6to4 relays
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // benchmarking
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4] // reserved, and broadcast
] as const

/**
 * The same within the global unicast range of IPv6, 2000::/3. Everything else is outside it: ::, ::1, IPv4-mapped and
 * -compatible, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), discard-only 100::/64, 5f00::/16, fc00::/7, fe80::/10,
 * fec0::/10, ff00::/8.
 */
const RESERVED_V6 = [
  ['2001::', 23], // protocol assignments, Teredo
  ['2001:db8::', 32], // documentation
  ['2002::', 16], // 6to4: an IPv4 address inside
  ['3fff::', 20] // documentation
] as const

const reserved = new BlockList()
for (const [network, prefix] of RESERVED_V4) reserved.addSubnet(network, prefix, 'ipv4')
for (const [network, prefix] of RESERVED_V6) reserved.addSubnet(network, prefix, 'ipv6')
const globalUnicast = new BlockList()
globalUnicast.addSubnet('2000::', 3, 'ipv6')

/** Returns whether `address` is on the public internet; false for other text, and for an address with a zone id. */
export function isPublicAddress (address: string): boolean {
  if (isIP(address) === 4) return !reserved.check(address, 'ipv4')
  if (isIP(address) !== 6 || address.includes('%')) return false
  return globalUnicast.check(address, 'ipv6') && !reserved.check(address, 'ipv6')
}

/** Returns whether `hostname`, in the form of URL.hostname, can only mean this machine. */
export function isLoopbackHost (hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]' || hostname === '::1'
}

/** Returns whether an IP address, of a socket for example, is one of this machine's loopback addresses. */
export function isLoopbackAddress (address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address)
}

/**
 * Returns the key under which the requests of an address are counted: the IPv4 address, or the /64 network of an IPv6
 * address, since one host or household holds a whole /64. Some proxies append the client's port in X-Forwarded-For; it
 * changes with each connection and is left out.
 *
 * @param given undefined where the client has disconnected and its address is not known any more, whatever the type of
 *   Fastify's `request.ip` says
 */
export function clientAddressKey (given: string | undefined): string {
  return prefixKey(given, 64)
}

/**
 * Returns the key of the site that an address belongs to: the /48 network of an IPv6 address, of which one household or
 * company may hold all 65,536 /64 networks, or the IPv4 address.
 */
export function clientNetworkKey (given: string | undefined): string {
  return prefixKey(given, 48)
}

function prefixKey (given = 'disconnected', prefix: 48 | 64): string {
  const address = given.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1').replace(/^\[(.*)\](:\d+)?$/, '$1')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  return isIPv6(address) ? networkOf(address.split('%')[0]!, prefix) : address
}

function networkOf (address: string, prefix: 48 | 64): string {
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length)).fill('0')
  const groups = [...left, ...zeros, ...right].slice(0, prefix / 16)
  return `${groups.map((group) => parseInt(group, 16).toString(16)).join(':')}::/${prefix}`
}

/** Returns a function that tells whether an address is in one of `ranges`: addresses and CIDR ranges. */
export function createAddressMatcher (ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    if (prefix === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(prefix), family)
  }
  // An empty list needs no look.
  if (ranges.length === 0) return () => false
  return (address) => isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}
