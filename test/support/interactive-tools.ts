import { Type } from 'typebox'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'
import { seedPing } from '../../src/tools/seed-ping.ts'

/** Tools that use all that a tool can do with its client. */
export const interactiveTools: readonly ToolDefinition[] = [
  seedPing,
  defineTool({
    name: 'echo',
    description: 'Gives back its text, and who sent it',
    input: Type.Object({ text: Type.String() }),
    handler: ({ text }, { principal }) => `${String(principal?.subject)}: ${text}`
  }),
  defineTool({
    name: 'ask_form',
    description: 'Asks for a name and a number',
    input: Type.Object({}),
    async handler (_input, { elicit }) {
      const answer = await elicit('Who are you?', Type.Object({ name: Type.String(), age: Type.Integer() }))
      if (answer.action !== 'accept') return `The person chose ${answer.action}`
      return `${answer.content.name} is ${answer.content.age}`
    }
  }),
  defineTool({
    name: 'ask_twice',
    description: 'Asks for one thing, and then for another',
    input: Type.Object({ topic: Type.String() }),
    async handler ({ topic }, { elicit }) {
      const first = await elicit(`First of ${topic}?`, Type.Object({ value: Type.String() }))
      const second = await elicit(`Second of ${topic}?`, Type.Object({ value: Type.String() }))
      if (first.action !== 'accept' || second.action !== 'accept') return 'no'
      return `${first.content.value}, ${second.content.value}`
    }
  }),
  defineTool({
    name: 'ask_page',
    description: 'Sends the person to a page',
    input: Type.Object({}),
    async handler (_input, { elicitUrl }) {
      const { action, completed } = await elicitUrl('Sign the form', 'https://forms.example.com/1')
      await completed()
      return action
    }
  }),
  defineTool({
    name: 'ask_model',
    description: 'Has the model of the client write something',
    input: Type.Object({ prompt: Type.String() }),
    async handler ({ prompt }, { sample }) {
      const { content } = await sample({
        messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
        maxTokens: 10
      })
      return `The model says: ${JSON.stringify(content)}`
    }
  }),
  defineTool({
    name: 'ask_roots',
    description: 'Lists the roots of the client',
    input: Type.Object({}),
    handler: async (_input, { listRoots }) => (await listRoots()).map(({ uri }) => uri).join(' ')
  }),
  defineTool({
    name: 'count',
    description: 'Counts, telling of each step',
    input: Type.Object({ steps: Type.Integer(), pauseMs: Type.Integer() }),
    async handler ({ steps, pauseMs }, { progress, logToClient, signal }) {
      for (let step = 1; step <= steps; step++) {
        await progress(step, steps, `step ${step}`)
        await logToClient('info', { step })
        await pause(pauseMs, signal)
      }
      return `Counted to ${steps}`
    }
  }),
  defineTool({
    name: 'wait',
    description: 'Does nothing for a while',
    input: Type.Object({ ms: Type.Integer() }),
    async handler ({ ms }, { signal, log }) {
      log.info({}, 'Waiting')
      await pause(ms, signal).finally(() => { log.info({ stopped: signal.aborted }, 'Waited') })
      return `Waited ${ms} ms`
    }
  }),
  defineTool({
    name: 'flood',
    description: 'Tells of more than anybody reads',
    input: Type.Object({ messages: Type.Integer(), bytes: Type.Integer() }),
    async handler ({ messages, bytes }, { logToClient, signal }) {
      for (let sent = 0; sent < messages && !signal.aborted; sent++) {
        await logToClient('info', 'x'.repeat(bytes))
        await new Promise((resolve) => { setImmediate(resolve) })
      }
      return `Sent ${messages} messages`
    }
  }),
  defineTool({
    name: 'change_tools',
    description: 'Says that the tools have changed',
    input: Type.Object({}),
    handler (_input, { announce }) {
      announce({ kind: 'tools_list_changed' })
      return 'Announced'
    }
  })
]

async function pause (ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw new ToolError('stopped')
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(new ToolError('stopped'))
    }, { once: true })
  })
}
