import t from 'tap'
import { createSubscribedListener } from '../../../src/mcp/streams/on-subscribed.ts'

t.test('resources of a subscription are found once, and again when the catalog has changed', async (t) => {
  const found: string[] = []
  const told: string[] = []
  const published: object[] = []
  const createCatalog = (name: string) => ({
    resources: {
      subscriptionListener (uri: string, changed: () => void, subscriber: string | undefined) {
        found.push(`${name} ${uri}`)
        if (uri === 'notes://plain') return undefined
        return () => {
          told.push(`${name} ${uri} ${subscriber}`)
          changed()
        }
      }
    }
  })
  let catalog = createCatalog('first')
  const onSubscribed = createSubscribedListener(() => catalog, { publish: (change) => { published.push(change) } })
  const renew = onSubscribed(['notes://1', 'notes://plain'], 'ada')
  renew()
  t.same(found, ['first notes://1', 'first notes://plain'])
  t.same(told, ['first notes://1 ada', 'first notes://1 ada'])
  catalog = createCatalog('second')
  renew()
  t.same(found.slice(2), ['second notes://1', 'second notes://plain'])
  t.equal(told.at(-1), 'second notes://1 ada')
  t.same(published[0], { kind: 'resource_updated', uri: 'notes://1' })
})
