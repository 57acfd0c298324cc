import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import type { TestProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { until } from '../support/until.ts'
import type { Configuration, Provider, RunningProvider, StartOptions } from './provider.ts'
import { installPython } from './python-environment.ts'

const SOURCE = join(ROOT, 'test/providers/django')
const SECRET = 'django-secret_with.marks~and*more'
const PERSON = {
  name: 'Ada Lovelace',
  email: 'ada@example.test',
  groups: ['engineering', 'staff'],
  group: 'engineering'
}
const LOGIN = { login: 'ada', username: 'ada', password: 'ada-password' }
const SCOPES = 'openid profile email'
const PROXY_CLIENT = 'seed-proxy'
const LIMITS = { logOut: 'it has no back-channel logout' }

/** A site of Django with django-oauth-toolkit (django/), and a database of SQLite. */
export const DJANGO: Provider = {
  name: 'django-oauth-toolkit',
  title: 'django-oauth-toolkit',
  version: '3.4.1',
  install: async (cacheFolder) => { await installPython(cacheFolder, SOURCE) },

  async start (options) {
    const site = new Site(options, await freePort())
    await site.prepare()
    await site.start()
    return site.running()
  }
}

class Site {
  readonly #options: StartOptions
  readonly #url: string
  /** The first one signs. */
  readonly #keys: string[] = []
  #server: TestProcess | undefined

  constructor (options: StartOptions, port: number) {
    this.#options = options
    this.#url = `http://localhost:${port}`
  }

  async prepare (): Promise<void> {
    const { seedUrl, clientRedirectUris } = this.#options
    await this.#addKey()
    await this.#manage('migrate', '--verbosity', '0')
    const application = async (type: string, id: string, uris: readonly string[], ...args: string[]): Promise<void> => {
      await this.#manage(
        'createapplication', type, 'authorization-code',
        '--client-id', id,
        '--name', id,
        '--algorithm', 'RS256',
        '--redirect-uris', uris.join(' '),
        ...args
      )
    }
    const redirectUris = [`${seedUrl}/oauth/callback`]
    await application('confidential', 'seed', redirectUris, '--client-secret', SECRET)
    await application('public', 'seed-public', redirectUris)
    await application('public', PROXY_CLIENT, clientRedirectUris)
    await this.#shell(
      `ada = User.objects.create_user("${LOGIN.login}", "${PERSON.email}", "${LOGIN.password}",
                                      first_name="Ada", last_name="Lovelace")`,
      ...PERSON.groups.map((name) => `ada.groups.add(Group.objects.create(name="${name}"))`)
    )
  }

  async start (): Promise<void> {
    const { cacheFolder, dataFolder, spawn } = this.#options
    // Without the reloader, whose child would outlive it.
    const args = ['-m', 'django', 'runserver', '--noreload', '--nostatic', new URL(this.#url).port]
    this.#server = spawn(join(cacheFolder, 'bin/python'), args, this.#environment(), dataFolder)
    const discovery = `${this.#url}/o/.well-known/openid-configuration`
    await until(async () => await fetch(discovery).then(({ ok }) => ok, () => false), 'the site answers')
  }

  async stop (): Promise<void> {
    this.#server!.child.kill('SIGTERM')
    await this.#server!.ended
  }

  async #restart (): Promise<void> {
    await this.stop()
    await this.start()
  }

  async #addKey (): Promise<void> {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    this.#keys.unshift(privateKey.export({ format: 'pem', type: 'pkcs8' }) as string)
    await writeFile(join(this.#options.dataFolder, 'keys.json'), JSON.stringify(this.#keys))
  }

  #environment (): Record<string, string> {
    const { dataFolder, seedUrl } = this.#options
    return {
      PYTHONPATH: SOURCE,
      PYTHONDONTWRITEBYTECODE: '1',
      PYTHONUNBUFFERED: '1',
      // oauthlib refuses http without this.
      OAUTHLIB_INSECURE_TRANSPORT: '1',
      DJANGO_SETTINGS_MODULE: 'site_settings',
      SITE_DATA: dataFolder,
      AUDIENCE: `${seedUrl}/mcp`
    }
  }

  async #manage (...args: string[]): Promise<void> {
    const { cacheFolder, dataFolder } = this.#options
    await promisify(execFile)(join(cacheFolder, 'bin/python'), ['-m', 'django', ...args], {
      cwd: dataFolder,
      env: { PATH: process.env['PATH'], ...this.#environment() }
    })
  }

  /** Runs lines of Python in the site's shell, where an administrator works with its database. */
  async #shell (...lines: string[]): Promise<void> {
    await this.#manage('shell', '--verbosity', '0', '--command', [
      'from django.contrib.auth.models import Group, User',
      'from oauth2_provider.models import RefreshToken',
      ...lines
    ].join('\n'))
  }

  async #setGroup (change: 'add' | 'remove'): Promise<void> {
    await this.#shell(
      `User.objects.get(username="${LOGIN.login}").groups.${change}(Group.objects.get(name="${PERSON.group}"))`
    )
  }

  running (): RunningProvider {
    return {
      issuer: `${this.#url}/o`,
      person: PERSON,
      configurations: this.#configurations(),
      signIn: async (authorizationUrl) => await createBrowser().signIn(authorizationUrl, LOGIN),
      revokeRefreshTokens: async () => {
        await this.#shell('for token in RefreshToken.objects.filter(revoked=None): token.revoke()')
      },
      restart: async () => { await this.#restart() },
      rotateKeys: async () => {
        await this.#addKey()
        await this.#restart()
      },
      removeFromGroup: async () => {
        await this.#setGroup('remove')
        return async () => { await this.#setGroup('add') }
      },
      stop: async () => { await this.stop() }
    }
  }

  #configurations (): Configuration[] {
    // The toolkit refuses scopes that it does not know, and does not list its revocation endpoint.
    const common = { OIDC_SCOPES: SCOPES, OAUTH_REVOCATION_URL: `${this.#url}/o/revoke_token/` }
    return [
      {
        name: 'broker',
        mode: 'broker',
        env: { OIDC_CLIENT_ID: 'seed', OIDC_CLIENT_SECRET: SECRET, ...common },
        limits: LIMITS
      },
      {
        name: 'broker, public client',
        mode: 'broker',
        env: { OIDC_CLIENT_ID: 'seed-public', ...common },
        limits: LIMITS
      },
      {
        name: 'proxy, access tokens signed by a generator of the site',
        mode: 'proxy',
        env: { OIDC_CLIENT_ID: PROXY_CLIENT, OIDC_AUDIENCE: `${this.#options.seedUrl}/mcp`, ...common },
        limits: LIMITS
      }
    ]
  }
}
