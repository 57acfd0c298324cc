import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import { ToolError } from '../../define/tool.ts'
import { UpstreamError } from '../../define/upstream.ts'
import { HandlerError } from './execute.ts'

/**
 * Runs the handler of a prompt or resource and turns its failures into protocol errors: unlike tools, these have no
 * result that says that something went wrong.
 */
export async function withProtocolErrors<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (err) {
    if (err instanceof UpstreamError) throw toProtocolError(err)
    if (!(err instanceof ToolError || err instanceof HandlerError)) throw err
    throw new ProtocolError(ProtocolErrorCode.InternalError, err.message)
  }
}

/** Returns the error of a server behind this one as the client gets it. */
export function toProtocolError ({ code, message, data }: UpstreamError): ProtocolError {
  return new ProtocolError(code, message, data)
}
