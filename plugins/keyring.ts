import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createKeyring } from '../src/crypto/keyring.ts'
import type { FindKeyring, Keyring } from '../src/crypto/keyring.ts'
import { createStoredKeyring } from '../src/oauth/modes/stored-keyring.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Keys derived from SEED_SECRET and SEED_SECRET_PREVIOUS; random ones where SEED_SECRET is not set. */
    keyring: Keyring
    /** The same, for what must outlive a restart: without SEED_SECRET, keys of a random secret in the store. */
    findKeyring: FindKeyring
  }
}

/** Shares the server's secrets. Says at start what is lost while SEED_SECRET is not set. */
async function keyring (app: FastifyInstance): Promise<void> {
  const { secrets: { current, previous }, authRequired, oauth } = app.config
  app.decorate('keyring', createKeyring(current, previous))
  app.decorate('findKeyring', current === undefined ? createStoredKeyring(app.store) : async () => app.keyring)
  if (current !== undefined) return
  if (authRequired && oauth.mode === 'broker') {
    app.log.warn('SEED_SECRET is not set: keys are made anew at each start, and everyone must sign in again after it')
  }
  if (app.store.kind === 'redis') {
    app.log.warn('SEED_SECRET is not set: a tool that asks its client for input (2026-07-28) can only continue at ' +
      'the replica that asked')
  }
}

export default fp(keyring, { name: 'keyring', dependencies: ['redis'], fastify: '5.x' })
