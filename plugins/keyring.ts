import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createKeyring } from '../src/crypto/keyring.ts'
import { weaknessOf } from '../src/crypto/weak-secret.ts'
import type { FindKeyring, Keyring } from '../src/crypto/keyring.ts'
import { createStoredKeyring } from '../src/oauth/modes/stored-keyring.ts'
import { createSigningKeys } from '../src/tokens/signing-keys.ts'
import type { SigningKeys } from '../src/tokens/signing-keys.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Keys derived from SEED_SECRET and SEED_SECRET_PREVIOUS; random ones where SEED_SECRET is not set. */
    keyring: Keyring
    /** The same, for what must outlive a restart: without SEED_SECRET, keys of a random secret in the store. */
    findKeyring: FindKeyring
    /** Sign Seed's own tokens, in broker mode, and what tells mounted servers who calls. */
    signingKeys: SigningKeys
  }
}

const GUESSED = 'Whoever guesses it can make access tokens in broker mode. Make another one with `openssl rand ' +
  '-base64 32`, and keep the old one as SEED_SECRET_PREVIOUS only until clients have refreshed (docs/deploy.md)'

/** Shares the server's secrets. Warns at start if SEED_SECRET is not set, or can be guessed. */
async function keyring (app: FastifyInstance): Promise<void> {
  const { secrets: { current, previous }, authRequired, oauth } = app.config
  app.decorate('keyring', createKeyring(current, previous))
  app.decorate('signingKeys', createSigningKeys(app.keyring))
  app.decorate('findKeyring', current === undefined ? createStoredKeyring(app.store) : async () => app.keyring)
  for (const [setting, secret] of Object.entries({ SEED_SECRET: current, SEED_SECRET_PREVIOUS: previous })) {
    const weakness = secret === undefined ? undefined : weaknessOf(secret)
    if (weakness !== undefined) {
      app.log.error({ event: 'config.secret_weak' }, `${setting} can be guessed: ${weakness}. ${GUESSED}`)
    }
  }
  if (current !== undefined) return
  if (authRequired && oauth.mode === 'broker') {
    app.log.warn({ event: 'config.secret_missing' },
      'SEED_SECRET is not set: keys are made anew at each start, and everyone must sign in again after it')
  }
  if (app.store.kind === 'redis') {
    app.log.warn({ event: 'config.secret_not_shared' },
      'SEED_SECRET is not set: a tool that asks its client for input (2026-07-28) can only continue at ' +
      'the replica that asked')
  }
}

export default fp(keyring, { name: 'keyring', dependencies: ['redis'], fastify: '5.x' })
