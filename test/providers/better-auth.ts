import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { ROOT } from '../support/root.ts'
import type { TestProcess } from '../support/process.ts'
import { installNpm } from './npm-environment.ts'
import { ISS_LIMITS } from './provider.ts'
import type { Provider, RunningProvider, StartOptions } from './provider.ts'

const SOURCE = join(ROOT, 'test/providers/better-auth')
const PERSON = {
  name: 'Ada Lovelace',
  email: 'ada@example.test',
  password: 'ada-password',
  groups: ['engineering', 'staff'],
  group: 'engineering'
}

interface Client {
  client_id: string
  client_secret?: string
}

/** better-auth with its OAuth provider plugin: a library, in a small application (better-auth/server.js). */
export const BETTER_AUTH: Provider = {
  name: 'better-auth',
  title: 'better-auth',
  version: '1.7.5',

  async install (cacheFolder) {
    await installNpm(cacheFolder, SOURCE)
  },

  async start (options) {
    const { cacheFolder, seedUrl } = options
    // Its packages are found from where it lies.
    await copyFile(join(SOURCE, 'server.js'), join(cacheFolder, 'server.js'))
    const url = `http://localhost:${await freePort()}`
    let server = await startServer(url, options)
    const { basic, post, native } = await control('POST', 'clients') as Record<'basic' | 'post' | 'native', Client>

    async function control (method: string, path: string, body?: unknown): Promise<unknown> {
      const answer = await fetch(`${url}/control/${path}`, {
        method,
        ...(body !== undefined && { body: JSON.stringify(body) })
      })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
      return await answer.json()
    }

    async function stop (): Promise<void> {
      server.child.kill('SIGTERM')
      await server.ended
    }

    const httpsOnly = { logOut: 'it sends logout tokens to public https URLs only' }
    const running: RunningProvider = {
      issuer: `${url}/api/auth`,
      person: PERSON,
      configurations: [
        {
          name: 'broker',
          mode: 'broker',
          env: { OIDC_CLIENT_ID: basic.client_id, OIDC_CLIENT_SECRET: basic.client_secret! },
          limits: httpsOnly
        },
        {
          name: 'broker, registered for client_secret_post',
          mode: 'broker',
          // OIDC_CLIENT_AUTH is unset: the method is found out before the provider could use up a code by a refusal.
          env: { OIDC_CLIENT_ID: post.client_id, OIDC_CLIENT_SECRET: post.client_secret! },
          limits: httpsOnly
        },
        {
          name: 'broker, public client',
          mode: 'broker',
          env: { OIDC_CLIENT_ID: native.client_id },
          limits: httpsOnly
        },
        {
          name: 'proxy',
          mode: 'proxy',
          env: {
            OIDC_CLIENT_ID: native.client_id,
            OIDC_AUDIENCE: `${seedUrl}/mcp`,
            OIDC_RESOURCE: `${seedUrl}/mcp`
          },
          limits: {
            ...httpsOnly,
            ...ISS_LIMITS,
            'SDK v1': 'it does not ask for offline_access, without which the provider gives no refresh token'
          }
        }
      ],
      signIn: async (authorizationUrl) =>
        await createBrowser().signIn(authorizationUrl, { login: PERSON.email, password: PERSON.password }),
      revokeRefreshTokens: async () => { await control('POST', 'revoke-refresh-tokens') },
      rotateKeys: async () => { await control('POST', 'rotate-keys') },
      async restart () {
        await stop()
        server = await startServer(url, options)
      },
      logOut: async () => {},
      async removeFromGroup () {
        await control('PUT', 'groups', PERSON.groups.filter((group) => group !== PERSON.group))
        return async () => { await control('PUT', 'groups', PERSON.groups) }
      },
      stop
    }
    return running
  }
}

async function startServer (
  url: string,
  { cacheFolder, dataFolder, seedUrl, clientRedirectUris, spawn }: StartOptions
): Promise<TestProcess> {
  const server = spawn(process.execPath, ['server.js'], {
    PORT: new URL(url).port,
    DATABASE: join(dataFolder, 'database'),
    SEED_URL: seedUrl,
    CLIENT_REDIRECT_URIS: JSON.stringify(clientRedirectUris),
    PERSON: JSON.stringify(PERSON)
  }, cacheFolder)
  await server.printed(/better-auth listens/)
  return server
}
