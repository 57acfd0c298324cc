import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import { ToolError } from '../../define/tool.ts'
import { HandlerError } from './execute.ts'

/** Prompts and resources have no result that is an error: what went wrong in them is one of the protocol. */
export async function protocolErrors<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (err) {
    throw err instanceof ToolError || err instanceof HandlerError ? new ProtocolError(ProtocolErrorCode.InternalError, err.message) : err
  }
}
