import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import type { TestProcess } from '../support/process.ts'
import { until } from '../support/until.ts'
import { expectPackage } from './debian.ts'
import type { Configuration, Provider, RunningProvider, StartOptions } from './provider.ts'

const SERVER = '/usr/bin/plackup'
const PORTAL = '/usr/share/lemonldap-ng/portal'
/** Marks that form encoding would change and that the portal does not decode. */
const SECRET = 'a-secret_with.marks~0123456789'
/** A user of its demonstration backend, who is in groups of it. */
const LOGIN = { user: 'dwho', password: 'dwho' }
const PERSON = { name: 'Doctor Who', email: 'dwho@badwolf.org', groups: ['engineering', 'timelords', 'users'], group: 'engineering' }
const SCOPES = 'openid profile email offline_access groups'

/** LemonLDAP::NG, the single sign-on portal in Perl, with its demonstration users and sessions in files. */
export const LEMONLDAP: Provider = {
  name: 'lemonldap',
  title: 'LemonLDAP::NG',
  version: '2.16',

  async install () {
    for (const program of [SERVER, join(PORTAL, 'htdocs/index.psgi')]) {
      await expectPackage(program, 'liblemonldap-ng-portal-perl libplack-perl libstring-random-perl libio-string-perl')
    }
  },

  async start (options) {
    const { dataFolder, seedUrl } = options
    const url = `http://localhost:${await freePort()}`
    const portal = new Portal(url, options)
    await portal.prepare()
    await portal.start()

    const audience = `${seedUrl}/mcp`
    const hasNone = { logOut: 'it has no back-channel logout' }
    const configuration = (name: string, env: Record<string, string>): Configuration =>
      ({ name, mode: 'broker', env: { ...env, OIDC_SCOPES: SCOPES }, limits: hasNone })
    const running: RunningProvider = {
      // With the slash at its end.
      issuer: `${url}/`,
      person: PERSON,
      configurations: [
        configuration('broker', { OIDC_CLIENT_ID: 'confidential', OIDC_CLIENT_SECRET: SECRET }),
        configuration('broker, public client, opaque access tokens', { OIDC_CLIENT_ID: 'opaque' }),
        {
          name: 'proxy',
          mode: 'proxy',
          env: { OIDC_CLIENT_ID: 'public', OIDC_AUDIENCE: audience, OIDC_SCOPES: SCOPES },
          limits: { ...hasNone, clientRevocation: 'it has no revocation endpoint' }
        }
      ],
      signIn: async (authorizationUrl) =>
        await createBrowser().signIn(authorizationUrl, { ...LOGIN, login: LOGIN.user }),
      async revokeRefreshTokens () {
        const sessions = join(dataFolder, 'sessions')
        for (const name of await readdir(sessions)) {
          const file = join(sessions, name)
          const text = await readFile(file, 'utf8').catch(() => '')
          if (/"_type":"refresh_token"/.test(text)) await rm(file)
        }
      },
      restart: async () => { await portal.restart() },
      async rotateKeys () {
        portal.key = signingKey()
        await portal.restart()
      },
      async removeFromGroup () {
        portal.groups = {}
        await portal.restart()
        return async () => {
          portal.groups = { [PERSON.group]: '1' }
          await portal.restart()
        }
      },
      stop: async () => { await portal.stop() }
    }
    return running
  }
}

interface Key {
  id: string
  publicKey: string
  privateKey: string
}

function signingKey (): Key {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' }
  })
  return { id: randomUUID(), publicKey, privateKey }
}

/** The portal and its configuration, which it reads from a numbered file at each start. */
class Portal {
  key = signingKey()
  /** Names of groups, and the rule that puts a person into one. */
  groups: Record<string, string> = { [PERSON.group]: '1' }
  readonly #url: string
  readonly #options: StartOptions
  #number = 0
  #server: TestProcess | undefined

  constructor (url: string, options: StartOptions) {
    this.#url = url
    this.#options = options
  }

  async prepare (): Promise<void> {
    const folder = this.#options.dataFolder
    for (const name of ['conf', 'cache', 'lib', 'sessions/lock', 'persistent/lock']) {
      await mkdir(join(folder, name), { recursive: true })
    }
    await writeFile(join(folder, 'lemonldap-ng.ini'), `[all]
logLevel = notice
[configuration]
type = File
dirName = ${folder}/conf
localStorage = Cache::FileCache
localStorageOptions = {'namespace' => 'configuration', 'default_expires_in' => 600, 'cache_root' => '${folder}/cache'}
[portal]
staticPrefix = /static
templateDir = ${PORTAL}/templates
languages = en
[handler]
status = 0
`)
    // The portal loads its captcha although it is off, which would need ImageMagick.
    await writeFile(join(folder, 'lib/NoCaptcha.pm'), `package NoCaptcha;
use strict;
use Mouse;
extends 'Lemonldap::NG::Portal::Main::Plugin';
sub init { 1 }
1;
`)
  }

  async start (): Promise<void> {
    const { dataFolder, spawn } = this.#options
    const number = ++this.#number
    await writeFile(
      join(dataFolder, `conf/lmConf-${number}.json`),
      JSON.stringify({ ...this.#configuration(), cfgNum: number })
    )
    this.#server = spawn(SERVER, [
      // One process, so that no worker outlives it.
      '--server', 'HTTP::Server::PSGI', '--host', '127.0.0.1', '--port', new URL(this.#url).port, '--env', 'deployment',
      join(PORTAL, 'htdocs/index.psgi')
    ], { LLNG_DEFAULTCONFFILE: join(dataFolder, 'lemonldap-ng.ini'), PERL5LIB: join(dataFolder, 'lib') }, dataFolder)
    const discovery = `${this.#url}/.well-known/openid-configuration`
    await until(async () => await fetch(discovery).then(({ ok }) => ok, () => false), 'the portal answers')
  }

  async stop (): Promise<void> {
    this.#server!.child.kill('SIGTERM')
    await this.#server!.ended
  }

  async restart (): Promise<void> {
    await this.stop()
    await this.start()
  }

  #configuration (): object {
    const { dataFolder: folder, seedUrl, clientRedirectUris } = this.#options
    const claims = { name: 'cn', email: 'mail', preferred_username: 'uid', groups: 'groups' }
    const redirectUri = `${seedUrl}/oauth/callback`
    const clients: Record<string, object> = {
      confidential: {
        oidcRPMetaDataOptionsClientSecret: SECRET,
        oidcRPMetaDataOptionsRedirectUris: redirectUri
      },
      opaque: {
        oidcRPMetaDataOptionsPublic: 1,
        oidcRPMetaDataOptionsRequirePKCE: 1,
        oidcRPMetaDataOptionsRedirectUris: redirectUri
      },
      public: {
        oidcRPMetaDataOptionsPublic: 1,
        oidcRPMetaDataOptionsRequirePKCE: 1,
        oidcRPMetaDataOptionsRedirectUris: clientRedirectUris.join(' '),
        oidcRPMetaDataOptionsAccessTokenJWT: 1,
        oidcRPMetaDataOptionsAccessTokenSignAlg: 'RS256',
        oidcRPMetaDataOptionsAccessTokenClaims: 1,
        oidcRPMetaDataOptionsAdditionalAudiences: `${seedUrl}/mcp`
      }
    }
    const each = <T>(value: (name: string) => T): Record<string, T> =>
      Object.fromEntries(Object.keys(clients).map((name) => [name, value(name)]))
    const files = (name: string): object => ({
      Directory: join(folder, name),
      LockDirectory: join(folder, name, 'lock'),
      generateModule: 'Lemonldap::NG::Common::Apache::Session::Generate::SHA256'
    })
    return {
      cfgAuthor: 'test',
      cfgVersion: '2.16.1',
      cfgDate: Math.floor(Date.now() / 1_000),
      domain: 'localhost',
      portal: `${this.#url}/`,
      cookieName: 'lemonldap',
      securedCookie: 0,
      key: 'a key of the test, which is no secret',
      authentication: 'Demo',
      userDB: 'Demo',
      passwordDB: 'Demo',
      registerDB: 'Null',
      demoExportedVars: { cn: 'cn', mail: 'mail', uid: 'uid' },
      exportedVars: {},
      macros: { _whatToTrace: '$uid' },
      whatToTrace: '_whatToTrace',
      groups: this.groups,
      timeout: 72_000,
      locationRules: {},
      exportedHeaders: {},
      applicationList: {},
      globalStorage: 'Apache::Session::File',
      globalStorageOptions: files('sessions'),
      persistentStorage: 'Apache::Session::File',
      persistentStorageOptions: files('persistent'),
      localSessionStorage: '',
      captcha: 'NoCaptcha',
      captcha_login_enabled: 0,
      captcha_mail_enabled: 0,
      captcha_register_enabled: 0,
      notification: 0,
      issuerDBOpenIDConnectActivation: 1,
      issuerDBOpenIDConnectPath: '^/oauth2/',
      issuerDBOpenIDConnectRule: 1,
      oidcServiceMetaDataIssuer: `${this.#url}/`,
      oidcServiceAllowAuthorizationCodeFlow: 1,
      oidcServiceKeyIdSig: this.key.id,
      oidcServicePrivateKeySig: this.key.privateKey,
      oidcServicePublicKeySig: this.key.publicKey,
      oidcRPMetaDataNode: {},
      oidcRPMetaDataOptions: each((name) => ({
        oidcRPMetaDataOptionsClientID: name,
        oidcRPMetaDataOptionsIDTokenSignAlg: 'RS256',
        oidcRPMetaDataOptionsUserIDAttr: 'uid',
        oidcRPMetaDataOptionsBypassConsent: 1,
        oidcRPMetaDataOptionsRefreshToken: 1,
        oidcRPMetaDataOptionsAllowOffline: 1,
        ...clients[name]
      })),
      oidcRPMetaDataExportedVars: each(() => claims),
      // Claims that no standard scope has.
      oidcRPMetaDataOptionsExtraClaims: each(() => ({ groups: 'groups' })),
      oidcRPMetaDataScopeRules: {},
      oidcRPMetaDataMacros: {}
    }
  }
}
