import t from 'tap'
import { parseRedisUrl } from '../../src/config/redis-url.ts'

const NOBODY = { username: undefined, password: undefined }
const one = (host: string, port: number) => [{ host, port }]

t.test('a URL has the addresses, topology and credentials of Redis', async (t) => {
  for (const [url, address] of [
    ['redis://redis', { topology: 'single', tls: false, nodes: one('redis', 6379), ...NOBODY, db: 0, primaryName: '' }],
    [
      'redis://redis:6380/',
      { topology: 'single', tls: false, nodes: one('redis', 6380), ...NOBODY, db: 0, primaryName: '' }
    ],
    ['REDISS://:pw@10.0.0.1:6380/15', {
      topology: 'single',
      tls: true,
      nodes: one(
        '10.0.0.1',
        6380
      ),
      username: undefined,
      password: 'pw',
      db: 15,
      primaryName: ''
    }],
    ['redis://user:p%40s%2Fs:%3A,@[::1]:6380/1?commandTimeout=1&db=2#x', {
      topology: 'single',
      tls: false,
      nodes: one(
        '::1',
        6380
      ),
      username: 'user',
      password: 'p@s/s::,',
      db: 1,
      primaryName: ''
    }],
    ['redis://user@[2001:db8::1]', {
      topology: 'single',
      tls: false,
      nodes: one(
        '2001:db8::1',
        6379
      ),
      username: 'user',
      password: undefined,
      db: 0,
      primaryName: ''
    }],
    ['redis://:p@w@redis_1', {
      topology: 'single',
      tls: false,
      nodes: one(
        'redis_1',
        6379
      ),
      username: undefined,
      password: 'p@w',
      db: 0,
      primaryName: ''
    }],
    ['redis://default:@redis', {
      topology: 'single',
      tls: false,
      nodes: one(
        'redis',
        6379
      ),
      username: 'default',
      password: undefined,
      db: 0,
      primaryName: ''
    }],
    [
      'redis+sentinel://s1/mymaster',
      { topology: 'sentinel', tls: false, nodes: one('s1', 26379), ...NOBODY, db: 0, primaryName: 'mymaster' }
    ],
    ['rediss+sentinel://user:pw@s1:1,s2, [::1]:3/my-master.1/2', {
      topology: 'sentinel',
      tls: true,
      nodes: [
        ...one('s1', 1),
        ...one('s2', 26379),
        ...one('::1', 3)
      ],
      username: 'user',
      password: 'pw',
      db: 2,
      primaryName: 'my-master.1'
    }],
    [
      'redis+cluster://n1',
      { topology: 'cluster', tls: false, nodes: one('n1', 6379), ...NOBODY, db: 0, primaryName: '' }
    ],
    ['rediss+cluster://:pw@n1:7000,n2:7001/', {
      topology: 'cluster',
      tls: true,
      nodes: [
        ...one('n1', 7000),
        ...one('n2', 7001)
      ],
      username: undefined,
      password: 'pw',
      db: 0,
      primaryName: ''
    }]
  ] as const) t.same(parseRedisUrl(url), address, url)
})

t.test('the problem of a wrong URL has an example, and not the password', async (t) => {
  for (const [url, example] of [
    ['', /redis:\/\//],
    ['redis:hunter2', /redis:\/\//],
    ['redis+other://:hunter2@redis', /redis:\/\//],
    ['http://:hunter2@redis', /redis:\/\//],
    ['redis://:hunter2@', /redis:\/\//],
    ['redis://:hunter2@a,b', /redis:\/\//],
    ['redis://:hunter2/x@redis', /redis:\/\//],
    ['redis://:hunter2%@redis', /redis:\/\//],
    ['redis://:hunter2@redis:65536', /redis:\/\//],
    ['redis://:hunter2@redis/0/1', /redis:\/\//],
    ['redis+sentinel://:hunter2@s1', /redis\+sentinel:\/\//],
    ['redis+sentinel://:hunter2@s1/mymaster/x', /redis\+sentinel:\/\//],
    ['redis+cluster://:hunter2@n1/1', /redis\+cluster:\/\//],
    ['redis+cluster://:hunter2@n1,', /redis\+cluster:\/\//]
  ] as const) {
    const err = t.throws(() => parseRedisUrl(url), url) as Error
    t.match(err.message, example)
    t.match(err.message, /^must be a URL such as /)
    t.notMatch(err.message, 'hunter2')
  }
})
