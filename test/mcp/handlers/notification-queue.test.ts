import t from 'tap'
import { NotificationQueue } from '../../../src/mcp/handlers/notification-queue.ts'

t.test('a result waits a second at most for notifications that the client does not take', async (t) => {
  const queue = new NotificationQueue({ untilReady: async () => { await new Promise(() => {}) } }, t.fail)
  const sent: number[] = []
  const sending = [1, 2, 3].map(async (number) => {
    await queue.send('progress', async () => { sent.push(number) })
  })
  await queue.finish()
  await Promise.all(sending.slice(1))
  t.same(sent, [1], 'the others are dropped, and whoever awaits them goes on')
})
