import { Type } from 'typebox'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import type { RequestContext } from '../../src/define/context.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'
import { settle } from './mcp.ts'

/** A tool that tells when it runs and waits to be let go. */
export function gate (): { tool: ToolDefinition, started: Promise<RequestContext>, open (text: string): void } {
  let tellStarted: (context: RequestContext) => void
  let open: (text: string) => void
  const started = new Promise<RequestContext>((resolve) => { tellStarted = resolve })
  const opened = new Promise<string>((resolve) => { open = resolve })
  const tool = defineTool({
    name: 'gate',
    description: 'waits',
    input: Type.Object({ progress: Type.Optional(Type.Boolean()) }),
    async handler ({ progress }, context) {
      if (progress === true) await context.progress(1)
      tellStarted(context)
      return await Promise.race([opened, new Promise<string>((_resolve, reject) => {
        context.signal.addEventListener('abort', () => { reject(new ToolError('stopped')) })
      })])
    }
  })
  return { tool, started, open: open! }
}

/** A tool that tells one more number whenever it is told to. */
export function stepper (): { tool: ToolDefinition, step (): Promise<void>, finish (): Promise<void> } {
  let next: (more: boolean) => void
  const go = async (more: boolean): Promise<void> => {
    next(more)
    await settle()
  }
  return {
    tool: defineTool({
      name: 'stepper',
      description: 'tells numbers',
      input: Type.Object({}),
      async handler (_input, { logToClient, signal }) {
        for (let number = 1; ; number++) {
          const told = new Promise<boolean>((resolve) => { next = resolve })
          await logToClient('info', number)
          const more = await Promise.race([told, new Promise<boolean>((_resolve, reject) => {
            signal.addEventListener('abort', () => { reject(new ToolError('stopped')) })
          })])
          if (!more) return 'finished'
        }
      }
    }),
    step: async () => { await go(true) },
    finish: async () => { await go(false) }
  }
}
