import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'
import { emptyFolder, SERVER, startProcess } from '../support/process.ts'
import { createPlainClient, PLAIN_REDIRECT_URI } from '../support/sign-in.ts'
import type { PlainClient, TokenAnswer } from '../support/sign-in.ts'
import { modernRequest, postMcp } from '../support/seed.ts'
import { until } from '../support/until.ts'
import type { RealClient } from './client.ts'
import { ROWS } from './provider.ts'
import type { Configuration, Row, RunningProvider, SeedUnderTest } from './provider.ts'

/** A cell of the matrix: `undefined` is not run, with the reason. */
export type Outcome = { works: true } | { works: false, reason: string } | { works: undefined, reason: string }
export type Column = Map<Row, Outcome>

/** No single step of the scenario takes this long on a loaded machine. */
const STEP_LIMIT_MS = 90_000

interface ScenarioOptions {
  provider: RunningProvider
  configuration: Configuration
  clients: RealClient[]
  /** The folders of the clients are in it. */
  cache: string
  seedUrl: string
}

/** Takes Seed with one configuration, at a running provider, through every row of the matrix. */
export async function runScenario (t: Test, options: ScenarioOptions): Promise<Column> {
  const { provider, configuration, clients, cache, seedUrl } = options
  const column: Column = new Map()
  const seed = await startSeed(t, options)
  const scenario = new Scenario(provider, seed)

  async function run (row: Row, step: (() => Promise<void>) | undefined): Promise<void> {
    const limit = configuration.limits?.[row]
    const outcome: Outcome = limit !== undefined || step === undefined
      ? { works: undefined, reason: limit ?? 'the provider has no such interface' }
      : await attempt(step)
    column.set(row, outcome)
    if (outcome.works !== undefined) t.ok(outcome.works, row, outcome)
  }

  for (const client of clients) {
    await run(client.name, async () => {
      const connected = await client.connect({
        url: `${seedUrl}/mcp`,
        redirectUri: PLAIN_REDIRECT_URI,
        cacheFolder: join(cache, client.name),
        signIn: provider.signIn
      })
      try {
        check((await connected.listTools()).includes('whoami'), 'the list has whoami')
        await connected.whoami()
        for (const time of ['first', 'second']) {
          connected.spoilAccessToken()
          check((await connected.whoami())['signedIn'] === true, `called after the ${time} refresh`)
        }
      } finally {
        await connected.close()
      }
    })
  }
  for (const row of Object.keys(ROWS) as Array<keyof typeof ROWS>) await run(row, scenario.stepOf(row))
  for (const [row, step] of Object.entries(provider.checks ?? {})) await run(row, () => step(seed))
  await seed.stop()
  return column
}

async function attempt (step: () => Promise<void>): Promise<Outcome> {
  let timer
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`no end after ${STEP_LIMIT_MS / 1_000} s`)) }, STEP_LIMIT_MS)
  })
  try {
    await Promise.race([step(), limit])
    return { works: true }
  } catch (err) {
    return { works: false, reason: (err as Error).message }
  } finally {
    clearTimeout(timer)
  }
}

async function startSeed (
  t: Test,
  { provider, configuration, seedUrl }: ScenarioOptions
): Promise<SeedUnderTest & { stop (): Promise<void> }> {
  const server = startProcess(t, ['--enable-source-maps', SERVER], {
    PORT: new URL(seedUrl).port,
    HOST: '127.0.0.1',
    BASE_URL: seedUrl,
    SEED_SECRET: randomBytes(32).toString('base64url'),
    CIMD_ENABLED: 'false',
    DCR_LIMIT_PER_ADDRESS: '1000',
    OIDC_ISSUER: provider.issuer,
    OAUTH_MODE: configuration.mode,
    ...(provider.person.group !== undefined && { ACCESS_GROUPS: provider.person.group }),
    ...configuration.env
  }, await emptyFolder(t))
  await server.printed(/Seed is ready/)
  return {
    url: seedUrl,
    configuration,
    output: server.output,
    async stop () {
      server.child.kill('SIGTERM')
      await server.ended
    }
  }
}

interface SignedIn {
  client: PlainClient
  tokens: TokenAnswer
}

/** The rows that need no particular client: they are walked by plain HTTP, which sees each answer. */
class Scenario {
  readonly #provider: RunningProvider
  readonly #seed: SeedUnderTest

  constructor (provider: RunningProvider, seed: SeedUnderTest) {
    this.#provider = provider
    this.#seed = seed
  }

  /** Returns what a row does, or undefined if the provider cannot. */
  stepOf (row: keyof typeof ROWS): (() => Promise<void>) | undefined {
    const provider = this.#provider
    switch (row) {
      case 'whoami': return () => this.#whoami()
      case 'refresh': return () => this.#refreshTwice()
      case 'clientRevocation': return () => this.#clientRevocation()
      case 'revokeRefreshTokens':
        return provider.revokeRefreshTokens && (() => this.#providerRevocation(() => provider.revokeRefreshTokens!()))
      case 'restart': return provider.restart && (() => this.#restart(() => provider.restart!()))
      case 'rotateKeys': return provider.rotateKeys && (() => this.#rotation(() => provider.rotateKeys!()))
      case 'logOut': return provider.logOut && (() => this.#logOut(() => provider.logOut!()))
      case 'removeFromGroup':
        return provider.removeFromGroup && (() => this.#removal(() => provider.removeFromGroup!()))
    }
  }

  async #whoami (): Promise<void> {
    const { name, email, groups } = this.#provider.person
    const answer = await this.#call((await this.#signIn()).tokens)
    const { result } = answer.body as { result: { structuredContent: Record<string, unknown> } }
    const found = result.structuredContent
    equal(found['name'], name, 'name')
    equal(found['email'], email, 'e-mail')
    equal((found['groups'] as string[]).toSorted(), (groups ?? []).toSorted(), 'groups')
  }

  async #refreshTwice (): Promise<void> {
    const { client, tokens } = await this.#signIn()
    await this.#works(await this.#refreshed(client, await this.#refreshed(client, tokens)))
  }

  async #clientRevocation (): Promise<void> {
    const { client, tokens } = await this.#signIn()
    const answer = await fetch(`${this.#seed.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({
        token: tokens.refresh_token!,
        token_type_hint: 'refresh_token',
        client_id: client.clientId
      })
    })
    equal(answer.status, 200, 'answer of /oauth/revoke')
    await this.#refreshIsDead(client, tokens)
  }

  async #providerRevocation (revoke: () => Promise<void>): Promise<void> {
    const { client, tokens } = await this.#signIn()
    await revoke()
    await this.#refreshIsDead(client, tokens)
    // Nothing of it is left behind: the person may come back.
    await this.#works((await this.#signIn()).tokens)
  }

  async #restart (restart: () => Promise<void>): Promise<void> {
    const { client, tokens } = await this.#signIn()
    await restart()
    await this.#works(await this.#refreshed(client, tokens))
  }

  async #rotation (rotate: () => Promise<void>): Promise<void> {
    const { client, tokens } = await this.#signIn()
    await rotate()
    await this.#works(await this.#refreshed(client, tokens))
    await this.#works((await this.#signIn()).tokens)
  }

  async #logOut (logOut: () => Promise<void>): Promise<void> {
    const { tokens } = await this.#signIn()
    await this.#works(tokens)
    await logOut()
    await until(async () => (await this.#call(tokens)).status === 401, 'the access token is refused after the logout')
  }

  async #removal (remove: () => Promise<() => Promise<void>>): Promise<void> {
    const { client, tokens } = await this.#signIn()
    const undo = await remove()
    try {
      const answer = await client.refresh(tokens.refresh_token!)
      const next = await answer.json() as TokenAnswer
      const status = answer.ok ? (await this.#call(next)).status : answer.status
      check(status >= 400 && status < 500, `refused after the refresh, not ${status}`)
    } finally {
      await undo()
    }
    await this.#works((await this.#signIn()).tokens)
  }

  async #signIn (): Promise<SignedIn> {
    const client = await createPlainClient(this.#seed.url)
    const url = await this.#provider.signIn(client.authorizationUrl())
    check(url.searchParams.has('code'), `signed in, not sent back with ${url.search}`)
    const answer = await client.redeem({ url })
    const tokens = await answer.json() as TokenAnswer
    equal(answer.status, 200, `answer of /oauth/token (${JSON.stringify(tokens)})`)
    check(tokens.refresh_token !== undefined, 'there is a refresh token')
    return { client, tokens }
  }

  async #refreshed (client: PlainClient, tokens: TokenAnswer): Promise<TokenAnswer> {
    const answer = await client.refresh(tokens.refresh_token!)
    const next = await answer.json() as TokenAnswer
    equal(answer.status, 200, `answer to a refresh (${JSON.stringify(next)})`)
    return { ...next, refresh_token: next.refresh_token ?? tokens.refresh_token! }
  }

  async #refreshIsDead (client: PlainClient, tokens: TokenAnswer): Promise<void> {
    const answer = await client.refresh(tokens.refresh_token!)
    equal(`${answer.status} ${(await answer.json() as TokenAnswer).error}`, '400 invalid_grant', 'answer to a refresh')
  }

  async #works (tokens: TokenAnswer): Promise<void> {
    const { status, body } = await this.#call(tokens)
    equal(status, 200, `answer of /mcp (${JSON.stringify(body)})`)
  }

  async #call ({ access_token: token }: TokenAnswer): Promise<{ status: number, body: unknown }> {
    return await postMcp(this.#seed, modernRequest('tools/call', { name: 'whoami', arguments: {} }), token)
  }
}

function check (holds: boolean, what: string): void {
  if (!holds) throw new Error(`Not so: ${what}`)
}

function equal (found: unknown, wanted: unknown, what: string): void {
  const [is, should] = [JSON.stringify(found), JSON.stringify(wanted)]
  if (is !== should) throw new Error(`${what}: ${is} instead of ${should}`)
}
