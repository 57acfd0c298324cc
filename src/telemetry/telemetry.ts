import { keys } from '../store/keys.ts'
import { ignoreOutage } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { Counter, Gauge, Histogram, MCP_DURATION_BOUNDS } from './instruments.ts'
import type { Instrument, ReadableValue } from './instruments.ts'
import { measureStore } from './measured-store.ts'
import { createMountMetrics } from './mount-metrics.ts'
import { createProcessGauges } from './process-gauges.ts'
import {
  findLimitSetting, isOffered, toErrorType, toGrantType, toHttpMethod, toKnownError, toMcpMethod
} from './label-values.ts'

/** A finished HTTP request. */
export interface FinishedRequest {
  method: string
  /** The route as declared, such as `/oauth/token`; undefined for an unknown path. */
  route: string | undefined
  status: number
  ms: number
  /** `grant_type` of a token request. */
  grantType: unknown
  /** Fields of its log line. */
  fields: Readonly<Record<string, unknown>>
}

/** A finished call of a tool, prompt or resource, as the engine records it. */
export interface MeasuredCall {
  method: string
  name: string
  outcome: string
  ms: number
}

/** Methods whose calls are measured where the handler runs. */
const HANDLER_METHODS = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** Value of a label for whatever is not in its set (OpenTelemetry, semantic conventions). */
const OTHER = '_OTHER'

export type Telemetry = ReturnType<typeof createTelemetry>

/**
 * Seed's metrics. Names follow the semantic conventions of OpenTelemetry for HTTP and MCP; `seed.…` are its own
 * (docs/metrics.md).
 */
export function createTelemetry (version: string, now: () => number = performance.now.bind(performance)) {
  const instruments = createInstruments()
  const { requests, operations, signInSteps, tokenRequests, refreshes, refusals, limitsHit } = instruments
  const { revocations, lostSpans, provider, storeOperations, add } = instruments
  let isStoreUp: boolean | undefined

  const addGauge = (value: ReadableValue): void => { add(new Gauge(value)) }
  const gauge = (name: string, unit: string, description: string, read: ReadableValue['read']): void => {
    addGauge({ about: { name, unit, description }, read })
  }
  gauge('seed.store.up', '1', 'Whether the store has answered the last request', () => toNumber(isStoreUp))
  addGauge({
    about: { name: 'seed.build.info', unit: '1', description: 'The version that runs' },
    read: () => 1,
    labels: { 'service.version': version, 'process.runtime.version': process.version }
  })
  for (const value of createProcessGauges()) addGauge(value)

  function countSignIn (step: string, { fields, status }: FinishedRequest): void {
    const denied = fields['decision'] === 'deny' ? 'denied' : undefined
    signInSteps.add([step, denied ?? errorOf(fields, status) ?? 'ok'])
  }

  function countToken (request: FinishedRequest): void {
    const { grantType, fields, status } = request
    tokenRequests.add([toGrantType(grantType), errorOf(fields, status) ?? 'ok'])
    if (grantType === 'authorization_code') countSignIn('token', request)
    if (grantType === 'refresh_token') refreshes.add([errorOf(fields, status) ?? 'ok'])
  }

  function countMcp ({ route, fields, ms, status }: FinishedRequest): void {
    const method = toMcpMethod(fields['mcpMethod'])
    if (HANDLER_METHODS.has(method) && status < 400) return
    const error = status < 400 ? undefined : String(status)
    operations.record([method, undefined, undefined, error, toEndpoint(route)], ms / 1_000)
  }

  return {
    instruments: instruments.all as readonly Instrument[],

    /** Watches the provider and its keys. @param keysLoadedAt on the clock of `performance.now` */
    watchProvider (problem: () => string | undefined, keysLoadedAt: () => number | undefined): void {
      gauge('seed.provider.up', '1', 'Whether the provider has answered the last request', () =>
        Number(problem() === undefined))
      gauge('seed.provider.keys.age', 's', 'Time since the signing keys were fetched', () => {
        const loadedAt = keysLoadedAt()
        return loadedAt === undefined ? undefined : (now() - loadedAt) / 1_000
      })
    },

    requestEnded (request: FinishedRequest): void {
      const { method, route, status, ms, fields } = request
      requests.record([toHttpMethod(method), route, String(status)], ms / 1_000)
      if (fields['mcpMethod'] !== undefined) countMcp(request)
      switch (route) {
        case '/oauth/authorize': countSignIn('authorize', request); break
        case '/oauth/consent': countSignIn('consent', request); break
        case '/oauth/callback': if (fields['page'] === undefined) countSignIn('callback', request); break
        case '/oauth/token': countToken(request)
      }
      if (status < 400 && fields['error'] === undefined) return
      refusals.add([route, toKnownError(fields['refused']) ?? errorOf(fields, status)])
      if (status === 429) limitsHit.add([findLimitSetting(fields['reason']) ?? OTHER])
    },

    /** @param endpoint the path of the MCP endpoint; undefined for `/mcp` */
    callEnded ({ method, name, outcome, ms }: MeasuredCall, endpoint?: string): void {
      const known = isOffered(outcome) ? name : OTHER
      const tool = method === 'tools/call' ? known : undefined
      const prompt = method === 'prompts/get' ? known : undefined
      operations.record([method, tool, prompt, toErrorType(method, outcome), endpoint], ms / 1_000)
    },

    /** The access token of a sign-in was used for the first time. */
    firstCallCame (): void { signInSteps.add(['call', 'ok']) },

    revoked (): void { revocations.add() },

    spansLost (spans: number): void { lostSpans.add([], spans) },

    providerAnswered (ms: number, failed: boolean): void {
      provider.record([failed ? 'unreachable' : 'ok'], ms / 1_000)
    },

    /** Creates the metrics of mounted servers, where there are any. */
    measureMounts: () => createMountMetrics(add),

    /** Watches what runs on this replica. */
    watchLimits (running: () => { calls: number, streams: number }): void {
      gauge('seed.calls.running', '{call}', 'Calls that run now', () => running().calls)
      gauge('seed.streams.open', '{stream}', 'Streams that are open', () => running().streams)
    },

    /** Returns the store, measured; also counts the sessions of all replicas. */
    watchStore (store: Store): Store {
      gauge('seed.sessions', '{session}', 'Sessions of the 2025 revisions, of all replicas', async () =>
        await store.countMembers(keys.sessions()).catch(ignore))
      return measureStore(store, (operation, ms, failed) => {
        isStoreUp = !failed
        storeOperations.record([operation, failed ? 'unavailable' : 'ok'], ms / 1_000)
      })
    }
  }
}

function toNumber (value: boolean | undefined): number | undefined {
  return value === undefined ? undefined : Number(value)
}

/** The instruments that measure requests and what they lead to. */
function createInstruments () {
  const all: Instrument[] = []
  const add = <T extends Instrument>(instrument: T): T => {
    all.push(instrument)
    return instrument
  }
  const counter = (name: string, unit: string, description: string, labels?: readonly string[]): Counter =>
    add(new Counter({ name, unit, description }, labels))

  const requests = add(new Histogram(
    { name: 'http.server.request.duration', unit: 's', description: 'Duration of HTTP requests' },
    ['http.request.method', 'http.route', 'http.response.status_code']
  ))
  const operations = add(new Histogram(
    { name: 'mcp.server.operation.duration', unit: 's', description: 'Duration of MCP requests, as Seed sees it' },
    ['mcp.method.name', 'gen_ai.tool.name', 'gen_ai.prompt.name', 'error.type', 'seed.endpoint'],
    MCP_DURATION_BOUNDS
  ))
  const signInSteps = counter('seed.sign_in.steps', '{step}', 'Steps of sign-ins', ['seed.step', 'seed.outcome'])
  const tokenRequests = counter(
    'seed.token.requests', '{request}', 'Requests for tokens', ['seed.grant_type', 'seed.outcome']
  )
  const refreshes = counter('seed.refreshes', '{refresh}', 'Refreshes of clients', ['seed.outcome'])
  const refusals = counter('seed.refusals', '{request}', 'Refused requests', ['http.route', 'seed.reason'])
  const limitsHit = counter('seed.limits.hit', '{request}', 'Requests beyond a limit', ['seed.setting'])
  const revocations = counter('seed.revocations', '{revocation}', 'Revocations that this replica has heard of')
  const lostSpans = counter('seed.spans.lost', '{span}', 'Spans that the collector of traces has not taken')
  const provider = add(new Histogram(
    { name: 'seed.provider.request.duration', unit: 's', description: 'Duration of requests to the provider' },
    ['seed.outcome']
  ))
  const storeOperations = add(new Histogram(
    { name: 'seed.store.operation.duration', unit: 's', description: 'Duration of requests to the store' },
    ['db.operation.name', 'seed.outcome'],
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
  ))
  return {
    all,
    add,
    requests,
    operations,
    signInSteps,
    tokenRequests,
    refreshes,
    refusals,
    limitsHit,
    revocations,
    lostSpans,
    provider,
    storeOperations
  }
}

/** Returns the MCP endpoint of a route, which may have a slash at its end; undefined for `/mcp`. */
function toEndpoint (route: string | undefined): string | undefined {
  const endpoint = route?.replace(/\/$/, '')
  return endpoint === '/mcp' ? undefined : endpoint
}

/** Returns the outcome of what failed; undefined for what has not. */
function errorOf (fields: FinishedRequest['fields'], status: number): string | undefined {
  const error = toKnownError(fields['error'])
  return error ?? (status < 400 ? undefined : String(status))
}

function ignore (err: unknown): undefined {
  ignoreOutage(err)
}
