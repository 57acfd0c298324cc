import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'
import { emptyFolder, SERVER, startProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { createPlainClient, PLAIN_REDIRECT_URI } from '../support/sign-in.ts'
import type { TokenAnswer } from '../support/sign-in.ts'
import { modernRequest, postMcp } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { check, equal, nextSecond } from './checks.ts'
import type { RealClient } from './client.ts'
import { DOCTOR_ROW, expectSoundDiagnosis } from './doctor.ts'
import { ROWS } from './provider.ts'
import type { Configuration, Row, RunningProvider, SeedUnderTest, SignedIn } from './provider.ts'

/** A cell of the matrix: `undefined` is not run, with the reason. */
export type Outcome = { works: true } | { works: false, reason: string } | { works: undefined, reason: string }
export type Column = Map<Row, Outcome>

/** No single step of the scenario takes this long on a loaded machine. */
const STEP_LIMIT_MS = 180_000
const CLIENTS_AT_ONCE = 3
/** The provider has the clock of this machine, but rounds as it likes. */
const CLOCK_SKEW_SECONDS = 1

interface ScenarioOptions {
  provider: RunningProvider
  configuration: Configuration
  clients: RealClient[]
  /** Of the clients that have their own, by name. */
  redirectUris: ReadonlyMap<string, string>
  /** The folders of the clients are in it. */
  cache: string
  seedUrl: string
}

/** Takes Seed with one configuration, at a running provider, through every row of the matrix. */
export async function runScenario (t: Test, options: ScenarioOptions): Promise<Column> {
  const { provider, configuration, clients } = options
  const column: Column = new Map()
  const server = await startSeed(t, options)
  const seed = createSeedUnderTest(options, server.output)
  const scenario = new Scenario(provider, seed)

  async function outcomeOf (row: Row, step: (() => Promise<void>) | undefined): Promise<Outcome> {
    const limit = configuration.limits?.[row]
    if (limit !== undefined || step === undefined) {
      return { works: undefined, reason: limit ?? 'the provider has no such interface' }
    }
    return await attempt(step)
  }

  function record (row: Row, outcome: Outcome): void {
    column.set(row, outcome)
    if (outcome.works !== undefined) t.ok(outcome.works, row, outcome)
  }

  async function run (row: Row, step: (() => Promise<void>) | undefined): Promise<void> {
    record(row, await outcomeOf(row, step))
  }

  await run(DOCTOR_ROW, async () => { await expectSoundDiagnosis(t, settingsOf(options)) })
  // Most of their time is spent on starting, which can overlap. The person signs in to one after the other.
  const signIn = oneByOne(provider.signIn)
  for (const some of chunksOf(clients, provider.clientsAtOnce ?? CLIENTS_AT_ONCE)) {
    const outcomes = await Promise.all(
      some.map(async (client) => await outcomeOf(client.name, async () => {
        await useClient(client, signIn, options)
      }))
    )
    outcomes.forEach((outcome, index) => { record(some[index]!.name, outcome) })
  }
  for (const row of Object.keys(ROWS) as Array<keyof typeof ROWS>) await run(row, scenario.stepOf(row))
  for (const [row, step] of Object.entries(provider.checks ?? {})) await run(row, () => step(seed))
  server.child.kill('SIGTERM')
  await server.ended
  if ([...column.values()].some(({ works }) => works === false)) console.error(warningsOf(await server.output()))
  return column
}

/** Returns the lines of Seed's log that may explain a red cell. */
function warningsOf (log: string): string {
  return log.split('\n').filter((line) => /"level":[456]0/.test(line)).slice(-50).join('\n')
}

/** Returns a function that begins a call when the one before has ended. */
function oneByOne<A, T> (call: (argument: A) => Promise<T>): (argument: A) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return async (argument) => {
    const next = last.then(async () => await call(argument))
    last = next.catch(() => {})
    return await next
  }
}

function chunksOf<T> (list: readonly T[], size: number): T[][] {
  const count = Math.ceil(list.length / size)
  return Array.from({ length: count }, (_, index) => list.slice(index * size, (index + 1) * size))
}

/** Signs in, lists, calls, and refreshes twice. */
async function useClient (
  client: RealClient,
  signIn: (authorizationUrl: URL) => Promise<URL>,
  { cache, seedUrl, redirectUris }: ScenarioOptions
): Promise<void> {
  const connected = await client.connect({
    url: `${seedUrl}/mcp`,
    redirectUri: redirectUris.get(client.name) ?? PLAIN_REDIRECT_URI,
    cacheFolder: join(cache, client.name),
    signIn
  })
  try {
    check((await connected.listTools()).includes('whoami'), 'the list has whoami')
    await connected.whoami()
    if (connected.spoilAccessToken === undefined) return
    for (const time of ['first', 'second']) {
      connected.spoilAccessToken()
      check((await connected.whoami())['signedIn'] === true, `called after the ${time} refresh`)
    }
  } finally {
    await connected.close()
  }
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
    return { works: false, reason: (err as Error).message.replace(/<!doctype.*/is, 'a page').slice(0, 400) }
  } finally {
    clearTimeout(timer)
  }
}

function settingsOf ({ provider, configuration, seedUrl }: ScenarioOptions): Record<string, string> {
  return {
    PORT: new URL(seedUrl).port,
    HOST: '127.0.0.1',
    BASE_URL: seedUrl,
    SEED_SECRET: randomBytes(32).toString('base64url'),
    CIMD_ENABLED: 'false',
    DCR_LIMIT_PER_ADDRESS: '1000',
    TOKEN_CLOCK_SKEW_SECONDS: String(CLOCK_SKEW_SECONDS),
    MCP_LIMIT_PER_PRINCIPAL: '100000',
    OAUTH_LIMIT_PER_ADDRESS: '100000',
    MCP_LIMIT_REFUSED: '100000',
    OIDC_ISSUER: provider.issuer,
    OAUTH_MODE: configuration.mode,
    ...(provider.person.group !== undefined && { ACCESS_GROUPS: provider.person.group }),
    ...(configuration.extensions !== undefined && { SEED_EXTENSIONS: configuration.extensions }),
    ...(configuration.mounts !== undefined && { SEED_MOUNTS: configuration.mounts }),
    ...configuration.env
  }
}

async function startSeed (t: Test, options: ScenarioOptions): Promise<TestProcess> {
  const { seedUrl } = options
  const server = startProcess(t, ['--enable-source-maps', SERVER], settingsOf(options), await emptyFolder(t))
  await server.printed(/Seed is ready/)
  await until(async () => await isProviderKnown(seedUrl), 'Seed knows the provider')
  return server
}

async function isProviderKnown (seedUrl: string): Promise<boolean> {
  const { parts } = await (await fetch(`${seedUrl}/health/ready`)).json() as { parts: { provider: { status: string } } }
  return parts.provider.status === 'ok'
}

/** Signs in, refreshes and calls by plain HTTP, which sees each answer. */
function createSeedUnderTest (options: ScenarioOptions, output: () => Promise<string>): SeedUnderTest {
  const { provider, configuration, seedUrl: url } = options
  return {
    url,
    configuration,
    output,

    async signIn () {
      const client = await createPlainClient(url)
      const back = await provider.signIn(client.authorizationUrl())
      check(back.searchParams.has('code'), `signed in, not sent back with ${back.search}`)
      const answer = await client.redeem({ url: back })
      const tokens = await answer.json() as TokenAnswer
      equal(answer.status, 200, `answer of /oauth/token (${JSON.stringify(tokens)})`)
      check(tokens.refresh_token !== undefined, 'there is a refresh token')
      return { client, tokens }
    },

    async refresh ({ client, tokens }) {
      const answer = await client.refresh(tokens.refresh_token!)
      const next = await answer.json() as TokenAnswer
      equal(answer.status, 200, `answer to a refresh (${JSON.stringify(next)})`)
      return { client, tokens: { ...tokens, ...next } }
    },

    async expectDeadRefreshToken ({ client, tokens }) {
      const answer = await client.refresh(tokens.refresh_token!)
      const { error } = await answer.json() as TokenAnswer
      equal(`${answer.status} ${error}`, '400 invalid_grant', 'answer to a refresh')
    },

    call: async ({ access_token: token }, tool = 'whoami') =>
      await postMcp({ url }, modernRequest('tools/call', { name: tool, arguments: {} }), token)
  }
}

/** The rows that need no particular client. */
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
    const { name, email, groups = [] } = { ...this.#provider.person, ...this.#seed.configuration.person }
    const answer = await this.#seed.call((await this.#seed.signIn()).tokens)
    const { result } = answer.body as { result?: { structuredContent: Record<string, unknown> } }
    check(result !== undefined, `a result, not ${answer.status} ${JSON.stringify(answer.body)}`)
    const found = result!.structuredContent
    equal(found['name'], name, 'name')
    equal(found['email'], email, 'e-mail')
    equal((found['groups'] as string[]).toSorted(), groups.toSorted(), 'groups')
  }

  async #refreshTwice (): Promise<void> {
    const first = await this.#seed.refresh(await this.#seed.signIn())
    await this.#works(await this.#seed.refresh(first))
  }

  async #clientRevocation (): Promise<void> {
    const signedIn = await this.#seed.signIn()
    const { status } = await fetch(`${this.#seed.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({
        token: signedIn.tokens.refresh_token!,
        token_type_hint: 'refresh_token',
        client_id: signedIn.client.clientId
      })
    })
    equal(status, 200, 'answer of /oauth/revoke')
    await this.#seed.expectDeadRefreshToken(signedIn)
  }

  async #providerRevocation (revoke: () => Promise<void>): Promise<void> {
    const signedIn = await this.#seed.signIn()
    await revoke()
    await this.#seed.expectDeadRefreshToken(signedIn)
    // Nothing of it is left behind: the person may come back.
    await this.#works(await this.#seed.signIn())
  }

  async #restart (restart: () => Promise<void>): Promise<void> {
    const signedIn = await this.#seed.signIn()
    await restart()
    await this.#works(await this.#refreshWhenAnswered(signedIn))
  }

  /** A provider that has just started may be slow: Seed then answers 503 and keeps the grant. */
  async #refreshWhenAnswered (signedIn: SignedIn): Promise<SignedIn> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#seed.refresh(signedIn)
      } catch (err) {
        if (attempt === 3 || !/ 503 instead of 200$/.test((err as Error).message)) throw err
      }
    }
  }

  async #rotation (rotate: () => Promise<void>): Promise<void> {
    const signedIn = await this.#seed.signIn()
    await rotate()
    await this.#works(await this.#seed.refresh(signedIn))
    await this.#works(await this.#seed.signIn())
  }

  async #logOut (logOut: () => Promise<void>): Promise<void> {
    const signedIn = await this.#seed.signIn()
    await this.#works(signedIn)
    await logOut()
    await until(
      async () => (await this.#seed.call(signedIn.tokens)).status === 401,
      'the access token is refused after the logout'
    )
    // In proxy mode Seed also refuses what was issued within the tolerated difference of the clocks.
    await nextSecond(1 + CLOCK_SKEW_SECONDS)
    await this.#works(await this.#seed.signIn())
  }

  async #removal (remove: () => Promise<() => Promise<void>>): Promise<void> {
    const { client, tokens } = await this.#seed.signIn()
    const undo = await remove()
    try {
      const answer = await client.refresh(tokens.refresh_token!)
      const next = await answer.json() as TokenAnswer
      const status = answer.ok ? (await this.#seed.call(next)).status : answer.status
      check(status >= 400 && status < 500, `refused after the refresh, not ${status}`)
    } finally {
      await undo()
    }
    await this.#works(await this.#seed.signIn())
  }

  async #works ({ tokens }: SignedIn): Promise<void> {
    const { status, body } = await this.#seed.call(tokens)
    equal(status, 200, `answer of /mcp (${JSON.stringify(body)})`)
  }
}
