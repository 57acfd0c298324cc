import { defineTool } from '../../../src/define/tool.ts'
import { Type } from 'typebox'

/** Tools that demand a recent sign-in, and one at a level (RFC 9470). */
export const recent = defineTool({
  name: 'recent',
  description: 'Is for people who have signed in within a minute.',
  maxAge: 60,
  input: Type.Object({}),
  handler: () => 'yes'
})

export const gold = defineTool({
  name: 'gold',
  description: 'Is for people who have signed in at the level gold.',
  acr: ['gold'],
  input: Type.Object({}),
  handler: () => 'yes'
})
