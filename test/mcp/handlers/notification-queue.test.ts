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

t.test('a log message that is awaited is sent in place of old progress that is not, and the newest progress is sent', async (t) => {
  let read!: () => void
  const isRead = new Promise<void>((resolve) => { read = resolve })
  const queue = new NotificationQueue({ untilReady: async () => { await isRead } }, t.fail)
  const sent: string[] = []
  const reports = Array.from({ length: 50 }, async (_, number) => {
    await queue.send('progress', async () => { sent.push(`progress ${number}`) })
  })
  const message = queue.send('message', async () => { sent.push('message') })
  read()
  await Promise.all([...reports, message])
  t.equal(sent.length, 33)
  t.same(sent.slice(0, 2), ['progress 0', 'progress 2'])
  t.same(sent.slice(-2), ['progress 49', 'message'])
  t.equal(queue.dropped, 18)
})
