import { Type, defineTool, definePrompt } from '../../src/index.ts'
import type { Definition, RequestContext } from '../../src/index.ts'

/** The tools and the prompt that the conformance suite asks of a server which asks its client. */

const nothing = Type.Object({})
const NAME = Type.Object({ name: Type.String() })
const CHOICES = ['option1', 'option2', 'option3']
const titled = (words: Record<string, string>) =>
  Object.entries(words).map(([value, title]) => Type.Literal(value, { title }))

type Elicited = Awaited<ReturnType<RequestContext['elicit']>>
const told = (answer: Elicited): string =>
  `action=${answer.action}, content=${JSON.stringify(answer.action === 'accept' ? answer.content : {})}`

export const questions: readonly Definition[] = [
  defineTool({
    name: 'test_sampling',
    description: 'Has the model of the client write something',
    input: Type.Object({ prompt: Type.String() }),
    async handler ({ prompt }, { sample }) {
      const { content } = await sample({
        messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
        maxTokens: 100
      })
      return `LLM response: ${JSON.stringify(content)}`
    }
  }),
  defineTool({
    name: 'test_elicitation',
    description: 'Asks the person',
    input: Type.Object({ message: Type.String() }),
    handler: async ({ message }, { elicit }) =>
      `User response: ${told(await elicit(message, Type.Object({ username: Type.String(), email: Type.String() })))}`
  }),
  defineTool({
    name: 'test_elicitation_sep1034_defaults',
    description: 'Asks with defaults for each kind of field',
    input: nothing,
    handler: async (_input, { elicit }) =>
      `Elicitation completed: ${told(
        await elicit(
          'Please review',
          Type.Object({
            name: Type.String({ default: 'John Doe' }),
            age: Type.Integer({ default: 30 }),
            score: Type.Number({ default: 95.5 }),
            status: Type.Enum(['active', 'inactive', 'pending'], { default: 'active' }),
            verified: Type.Boolean({ default: true })
          })
        )
      )}`
  }),
  defineTool({
    name: 'test_elicitation_sep1330_enums',
    description: 'Asks with every kind of choice',
    input: nothing,
    handler: async (_input, { elicit }) =>
      `Elicitation completed: ${told(
        await elicit(
          'Please choose',
          Type.Object({
            untitledSingle: Type.Enum(CHOICES),
            titledSingle: Type.Union(
              titled({ value1: 'First Option', value2: 'Second Option', value3: 'Third Option' })
            ),
            legacyEnum: Type.Unsafe<string>({
              type: 'string',
              enum: ['opt1', 'opt2', 'opt3'],
              enumNames: ['Option One', 'Option Two', 'Option Three']
            }),
            untitledMulti: Type.Array(Type.Enum(CHOICES)),
            titledMulti: Type.Array(
              Type.Union(titled({ value1: 'First Choice', value2: 'Second Choice', value3: 'Third Choice' }))
            )
          })
        )
      )}`
  }),
  defineTool({
    name: 'test_streaming_elicitation',
    description: 'Tells how far it is, and asks',
    input: nothing,
    async handler (_input, { progress, elicit }) {
      await progress(1)
      return told(await elicit('Go on?', Type.Object({ go: Type.Boolean() })))
    }
  }),
  defineTool({
    name: 'test_missing_capability',
    description: 'Needs a client that samples',
    input: nothing,
    handler: async (_input, { sample }) =>
      JSON.stringify(
        await sample({ messages: [{ role: 'user', content: { type: 'text', text: 'Hello' } }], maxTokens: 10 })
      )
  }),
  defineTool({
    name: 'test_input_required_result_elicitation',
    description: 'Asks for a name',
    input: nothing,
    async handler (_input, { elicit }) {
      const answer = await elicit('What is your name?', NAME, { key: 'user_name' })
      return answer.action === 'accept' ? `Hello, ${answer.content.name}!` : 'Hello!'
    }
  }),
  defineTool({
    name: 'test_input_required_result_sampling',
    description: 'Asks the model',
    input: nothing,
    async handler (_input, { sample }) {
      const { content } = await sample(
        {
          messages: [{ role: 'user', content: { type: 'text', text: 'What is the capital of France?' } }],
          maxTokens: 100
        },
        { key: 'capital_question' }
      )
      return JSON.stringify(content)
    }
  }),
  defineTool({
    name: 'test_input_required_result_list_roots',
    description: 'Asks for the roots',
    input: nothing,
    handler: async (_input, { listRoots }) => JSON.stringify(await listRoots({ key: 'client_roots' }))
  }),
  defineTool({
    name: 'test_input_required_result_request_state',
    description: 'Asks, and knows its state again',
    input: nothing,
    async handler (_input, { elicit }) {
      await elicit('Please confirm', Type.Object({ ok: Type.Boolean() }), { key: 'confirm' })
      return 'state-ok'
    }
  }),
  defineTool({
    name: 'test_input_required_result_multiple_inputs',
    description: 'Asks for three things at once',
    input: nothing,
    async handler (_input, { elicit, sample, listRoots }) {
      const answers = await Promise.all([
        elicit('What is your name?', NAME, { key: 'user_name' }),
        sample(
          { messages: [{ role: 'user', content: { type: 'text', text: 'Generate a greeting' } }], maxTokens: 50 },
          { key: 'greeting' }
        ),
        listRoots({ key: 'client_roots' })
      ])
      return JSON.stringify(answers)
    }
  }),
  defineTool({
    name: 'test_input_required_result_multi_round',
    description: 'Asks twice',
    input: nothing,
    async handler (_input, { elicit }) {
      const name = await elicit('Step 1: What is your name?', NAME, { key: 'step1' })
      const color = await elicit('Step 2: What is your favorite color?', Type.Object({ color: Type.String() }), {
        key: 'step2'
      })
      return `${told(name)} ${told(color)}`
    }
  }),
  defineTool({
    name: 'test_input_required_result_tampered_state',
    description: 'Asks, and believes no state that was changed',
    input: nothing,
    handler: async (_input, { elicit }) =>
      told(await elicit('Please confirm', Type.Object({ ok: Type.Boolean() }), { key: 'confirm' }))
  }),
  defineTool({
    name: 'test_input_required_result_capabilities',
    description: 'Asks for what the client can do, and nothing else',
    input: nothing,
    async handler (_input, { client, elicit, sample }) {
      const questions: Array<Promise<unknown>> = []
      if (client.capabilities['elicitation'] !== undefined) questions.push(elicit('What is your name?', NAME))
      if (client.capabilities['sampling'] !== undefined) {
        questions.push(
          sample({ messages: [{ role: 'user', content: { type: 'text', text: 'Hello' } }], maxTokens: 10 })
        )
      }
      return JSON.stringify(await Promise.all(questions))
    }
  }),
  definePrompt({
    name: 'test_input_required_result_prompt',
    description: 'Asks before it has its words',
    async handler (_input, { elicit }) {
      const answer = await elicit('What context should the prompt use?', Type.Object({ context: Type.String() }), {
        key: 'user_context'
      })
      return answer.action === 'accept' ? `Use ${answer.content.context}` : 'Use no context'
    }
  })
]
