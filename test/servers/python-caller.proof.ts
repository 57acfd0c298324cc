import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import t from 'tap'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { createCallerAssertions } from '../../src/tokens/caller-assertion.ts'
import { createSigningKeys } from '../../src/tokens/signing-keys.ts'
import { SEED_SECRET, getTokens, startBroker } from '../support/broker.ts'
import { freePort } from '../support/free-port.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, postMcp } from '../support/seed.ts'
import { writeMounts } from '../support/upstream.ts'
import { PYTHON, installPythonServers } from './servers.ts'
import { startHttp } from './start-http.ts'

/** A server in Python verifies who calls with the example of docs/mounts.md. */

const HERE = join(ROOT, 'test/servers/python')

t.test('the Python example of docs/mounts.md verifies who calls, and refuses what is not from Seed', {
  timeout: 300_000
}, async (t) => {
  await installPythonServers()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/mcp`
  const seed = await startBroker(t, {
    definitions: [],
    env: {
      SEED_MOUNTS: await writeMounts({
        tickets: { url, identity: { assertion: { claims: ['email', 'groups'] } } },
        other: { url, identity: { assertion: { audience: 'https://other.internal/mcp' } } }
      })
    },
    timings: { mountsWaitMs: 1, mountsRetryMs: 10 }
  })

  const [, example] = /```python\n(import jwt\n.*?)```/s.exec(await readFile(join(ROOT, 'docs/mounts.md'), 'utf8'))!
  const folder = await emptyFolder(t)
  await writeFile(join(folder, 'caller.py'),
    example!.replace('https://mcp.example.com', seed.url).replace('https://tickets.internal/mcp', url))
  await startHttp(t, join(PYTHON, 'bin/python'), (port) => [join(HERE, 'caller_server.py'), port],
    () => ({ PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' }), port)
  await seed.logged(({ event, mount }) => event === 'mount.connected' && mount === 'tickets')
  t.match(await seed.logged(({ event, mount }) => event === 'mount.refused' && mount === 'other'), { reason: /401/ },
    'an assertion for another server')

  const tokens = []
  for (const login of ['ada', 'bob']) {
    const { accessToken, clientId } = await getTokens(seed, { login })
    tokens.push(accessToken)
    const request = modernRequest('tools/call', { name: 'tickets_who_calls', arguments: {} })
    t.match((await postMcp(seed, request, accessToken)).body.result.structuredContent, {
      sub: login, client_id: clientId, seed_principal_kind: 'person', email: `${login}@example.com`
    })
  }

  const ask = async (authorization?: string): Promise<string> => {
    const { status, body, headers } = await fetch(url, {
      method: 'DELETE', headers: { ...(authorization !== undefined && { authorization }) }
    }).then(async (response) => ({ status: response.status, body: await response.text(), headers: response.headers }))
    return status === 401 ? body : `let in (${status}, ${headers.get('content-type')})`
  }
  const signingKeys = createSigningKeys(createKeyring(SEED_SECRET, undefined))
  const issue = (options = {}, audience = url): string =>
    createCallerAssertions({ signingKeys, issuer: seed.url, ...options })(undefined, { audience })
  const { kid, privateKey } = signingKeys.current()
  const accessTokenForServer = await new SignJWT({ sub: 'ada' })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid }).setIssuer(seed.url).setAudience(url)
    .setIssuedAt().setExpirationTime('1m').sign(privateKey)
  const foreignKeys = createSigningKeys(createKeyring('a SEED_SECRET of somebody else, 44 bytes long', undefined))

  t.match(await ask(`Bearer ${issue()}`), /^let in/)
  t.match(await ask(), /Not enough segments/, 'nothing')
  t.match(await ask(`Bearer ${tokens[0]}`), /not an assertion about a caller/, 'an access token of Seed')
  t.match(await ask(`Bearer ${accessTokenForServer}`), /not an assertion about a caller/, 'another type')
  t.match(await ask(`Bearer ${issue({}, 'https://other.internal/mcp')}`), /Audience doesn't match/)
  t.match(await ask(`Bearer ${issue({ issuer: 'https://other.example' })}`), /Invalid issuer/)
  t.match(await ask(`Bearer ${issue({ now: () => Date.now() - 120_000 })}`), /Signature has expired/)
  t.match(await ask(`Bearer ${issue({ signingKeys: foreignKeys })}`), /Unable to find a signing key/)
  t.match(await ask(`Bearer ${issue().slice(0, -10)}AAAAAAAAAA`), /Signature verification failed/)
})
