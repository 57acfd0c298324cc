import t from 'tap'
import { greet } from '../../src/prompts/greet.ts'
import { createTestClient } from '../../src/testing/index.ts'

t.test('greet', async (t) => {
  const client = await createTestClient({ definitions: [greet], principal: { subject: 'ada', name: 'Ada' } })
  const nobody = await createTestClient({ definitions: [greet], protocolVersion: '2025-11-25' })
  t.teardown(async () => { await Promise.all([client.close(), nobody.close()]) })
  t.match(
    await client.getPrompt('greet', { language: 'Deutsch' }),
    { messages: [{ role: 'user', content: { text: /^Greet Ada .* this language: Deutsch\./ } }] }
  )
  t.match(
    await nobody.getPrompt('greet'),
    { messages: [{ content: { text: /^Greet me .* this language: English\./ } }] }
  )
  t.same(await client.complete({ prompt: 'greet' }, 'language', 'e'), ['English', 'Español'])
})
