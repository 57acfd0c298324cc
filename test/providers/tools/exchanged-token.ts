import { defineTool } from '../../../src/define/tool.ts'
import { Type } from 'typebox'

/** Shows the claims of a token for another API, which the provider gives for the caller's. */
export const exchangedToken = defineTool({
  name: 'exchanged_token',
  description: 'Returns the claims of the caller\'s token for orders-api.',
  input: Type.Object({}),
  async handler (_input, { tokenFor }) {
    const [, payload = ''] = (await tokenFor('orders-api')).split('.')
    return JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
  }
})
