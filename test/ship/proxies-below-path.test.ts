import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../support/root.ts'
import { until } from '../support/until.ts'
import { startEchoReplicas } from './proxies/echo.ts'
import { PROXIES } from './proxies/proxies.ts'

/** What docs/proxies.md says to change for Seed below a path, in the shipped configurations of the other proxies. */

const document = await readFile(join(ROOT, 'docs/proxies.md'), 'utf8')
const section = /\n## Below a path\n([^]*?)\n## /.exec(document)![1]!

/** The lines that are given for a proxy, without the comment above them. */
function linesFor (language: string): string {
  return new RegExp(`\`\`\`${language}\\n#.*\\n([^]*?)\`\`\``).exec(section)![1]!
}

const CHANGES: Record<string, Record<string, string>> = {
  Caddy: {
    'reverse_proxy 127.0.0.1:3000': `${linesFor('caddyfile')}reverse_proxy @seed 127.0.0.1:3000`
  },
  HAProxy: { 'default_backend seed': linesFor('haproxy') },
  Apache: { 'ProxyPass / balancer://seed/': linesFor('apache') },
  Traefik: {
    'rule: Host(`seed.example.com`) && !PathPrefix(`/health`)':
      linesFor('yaml').trim().replace('tools.example.com', 'seed.example.com')
  }
}

for (const { name, start } of PROXIES.filter(({ name }) => name in CHANGES)) {
  t.test(`${name} routes what is Seed's below a path, unchanged, and nothing else of the host`, async (t) => {
    const echo = await startEchoReplicas(t)
    const proxy = await start(t, echo.ports, CHANGES[name]!)
    if (proxy === undefined) return
    await until(async () => (await proxy.send('/seed')).status === 200, 'it has found a replica')
    for (const path of [
      '/seed', '/seed/', '/seed/mcp', '/seed/oauth/authorize?a=b', '/seed/.well-known/openid-configuration',
      '/seed/mcp/sales', '/.well-known/oauth-protected-resource/seed/mcp',
      '/.well-known/oauth-protected-resource/seed/mcp/sales', '/.well-known/oauth-authorization-server/seed',
      '/.well-known/openid-configuration/seed'
    ]) {
      echo.seen.length = 0
      t.equal((await proxy.send(path)).status, 200, path)
      t.same(echo.seen, [`GET ${path}`], 'it arrives unchanged')
    }
    echo.seen.length = 0
    for (const path of ['/mcp', '/seedling', '/.well-known/oauth-authorization-server', '/health/live']) {
      await proxy.send(path)
    }
    t.same(echo.seen, [])
  })
}
