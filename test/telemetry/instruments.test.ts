import t from 'tap'
import { Counter, Gauge, Histogram } from '../../src/telemetry/instruments.ts'
import { createTelemetry } from '../../src/telemetry/telemetry.ts'
import { findLimitSetting, toHttpMethod, toKnownError, toMcpMethod } from '../../src/telemetry/label-values.ts'

const about = { name: 'things', unit: '{thing}', description: 'Things' }

t.test('what callers choose is one value of a label', async (t) => {
  t.equal(toHttpMethod('BREW'), '_OTHER')
  t.equal(toHttpMethod('POST'), 'POST')
  for (const method of ['tools/run', '__proto__', 'x'.repeat(1_000), 7]) t.equal(toMcpMethod(method), '_OTHER')
  t.equal(toMcpMethod('tools/list'), 'tools/list')
  t.equal(toKnownError('made_up'), '_OTHER')
  t.equal(toKnownError('invalid_grant'), 'invalid_grant')
  t.equal(toKnownError(undefined), undefined)
  t.equal(findLimitSetting('more than 120 requests (OAUTH_LIMIT_PER_ADDRESS, TRUST_PROXY)'), 'OAUTH_LIMIT_PER_ADDRESS')
  t.equal(findLimitSetting(undefined), undefined)
})

t.test('a sign-in to the page /connections is no step of an application\'s sign-in', async (t) => {
  const telemetry = createTelemetry('1')
  const steps = telemetry.instruments.find(({ about }) => about.name === 'seed.sign_in.steps') as Counter
  const request = { method: 'GET', route: '/oauth/callback', status: 303, ms: 1, grantType: undefined }
  telemetry.requestEnded({ ...request, fields: { page: '/connections' } })
  t.same(steps.series, [])
  telemetry.requestEnded({ ...request, fields: {} })
  t.match(steps.series, [{ labels: { 'seed.step': 'callback' } }])
})

t.test('an instrument has a limited number of series; the others are counted as overflow', async (t) => {
  const counter = new Counter(about, ['name'])
  for (let number = 0; number < 3_000; number++) counter.add([String(number)])
  counter.add(['0'])
  t.equal(counter.series.length, 2_001)
  t.match(counter.series[0], { labels: { name: '0' }, data: { value: 2 } })
  t.match(counter.series.at(-1), { labels: { 'otel.metric.overflow': 'true' }, data: { value: 1_000 } })
})

t.test('a counter without labels is there from the start', async (t) => {
  t.same(new Counter(about).series, [{ labels: {}, data: { value: 0 } }])
})

t.test('a histogram counts each value in the first bucket that holds it', async (t) => {
  const histogram = new Histogram(about, ['a', 'b'], [1, 2])
  for (const value of [0.5, 1, 1.5, 9]) histogram.record(['x', undefined], value)
  t.same(histogram.series, [{ labels: { a: 'x' }, data: { count: 4, sum: 12, counts: [2, 1, 1] } }])
})

t.test('a value that cannot be read is left out', async (t) => {
  t.same(await new Gauge({ about, read: () => undefined }).readSeries(), [])
  t.same(await new Gauge({ about, read: async () => 3, labels: { a: 'b' } }).readSeries(), [
    { labels: { a: 'b' }, data: { value: 3 } }
  ])
})
