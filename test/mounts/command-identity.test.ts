import { decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { readConfig } from '../../plugins/config.ts'
import { startDevProvider } from '../../dev/provider.ts'
import { checkMounts } from '../../src/doctor/mounts.ts'
import { createCommandIdentity } from '../../src/mounts/command-identity.ts'
import { SEED_SECRET } from '../support/broker.ts'
import { runCommand } from '../support/run-command.ts'
import { NO_OFFERS, startUpstream, writeMounts } from '../support/upstream.ts'

/** Starts a provider and a mounted server that lets nobody in without a token of Seed itself. */
async function startGuarded (t: Test) {
  const provider = await startDevProvider({ algorithm: 'ES256', quirks: { exchangeAudiences: ['calc-api', 'other-api'] } })
  t.teardown(async () => { await provider.close() })
  const upstream = await startUpstream(t, 'session')
  const tokens = new Set<string>()
  upstream.intercept = ({ headers: { authorization = '' } }, response) => {
    const token = authorization.replace('Bearer ', '')
    tokens.add(token)
    if (token !== '' && decodeJwt(token).aud === 'calc-api') return false
    response.writeHead(403).end()
    return true
  }
  const mountFor = (audience: string, others = {}) => ({
    url: upstream.url, identity: { tokenFor: { audience, resource: 'https://calc.example', allowServerToken: true } }, ...others
  })
  const settings = async (mounts: object): Promise<Record<string, string>> => ({
    OAUTH_MODE: 'broker',
    SEED_SECRET,
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: 'seed-dev-confidential',
    OIDC_CLIENT_SECRET: 'dev-secret',
    SEED_MOUNTS: await writeMounts(mounts)
  })
  return { tokens, mountFor, settings }
}

t.test('commands fetch a token of Seed itself for a mount with allowServerToken, so that it can be pinned', async (t) => {
  const { tokens, mountFor, settings } = await startGuarded(t)
  const environment = await settings({ calc: mountFor('calc-api', { pin: { file: 'calc.lock.json' } }) })
  t.match(await runCommand(['mounts', 'accept'], environment), { code: 0, printed: /^calc: tools "add" \(new\)$/m })
  t.equal(tokens.size, 1, 'one token for all requests of a command')
  t.match(decodeJwt([...tokens][0]!), { sub: 'seed-dev-confidential', aud: 'calc-api' })
  t.match(await runCommand(['mounts', 'diff'], environment), { code: 0 })
  t.match(await runCommand(['explain', '--tool', 'calc_add'], environment), { code: 0, printed: /It is "add" of/ })
  t.match(await checkMounts(await readConfig({ environment }), async () => NO_OFFERS), [{ check: 'mounts.calc', severity: 'ok' }])
})

t.test('seed doctor says why there is no token for a mount with allowServerToken, or that the server refuses it', async (t) => {
  const { mountFor, settings } = await startGuarded(t)
  const environment = await settings({ other: mountFor('other-api'), unknown: mountFor('unknown-api') })
  const config = await readConfig({ environment })
  t.match(await checkMounts(config, async () => NO_OFFERS), [{
    severity: 'error', answered: 'it answered with HTTP status 403', meaning: /refuses the token of Seed: check identity.tokenFor.audience/
  }, {
    severity: 'error', answered: /gave no token for "unknown-api" \(.*invalid_target/, meaning: /let the provider allow OIDC_CLIENT_ID/
  }])
  const away = { ...config, oidc: { ...config.oidc, discoveryUrl: 'http://127.0.0.1:9/away' } }
  t.match(await checkMounts(away, async () => NO_OFFERS), Array(2).fill({
    severity: 'error', answered: /identity provider cannot be used \(/, meaning: /need a token of the provider: see there/
  }))
  const { tokenFor } = createCommandIdentity(config, { info () {}, warn () {}, error () {} })
  await t.rejects(tokenFor(undefined as never, { audience: 'calc-api' }, new AbortController().signal),
    { message: /no caller whose token could be exchanged/ })
})
