import { printKey, quote } from './code.ts'
import type { SecretHeader } from './credentials.ts'
import { REQUESTS_AND_ANSWERS, REQUEST_TYPES } from './client-template.ts'
import { namesOf } from './target.ts'
import type { ImportTarget } from './target.ts'

/**
 * Returns the source of the client that all tools of an API share.
 *
 * @param defaultUrl empty if the client has none
 */
export function writeClientFile (target: ImportTarget, header: SecretHeader, defaultUrl: string): string {
  const { caller, settings } = namesOf(target)
  const { url, tokenFile, audience, scopes, assertionAudience, assertionClaims } = settings
  const { name, prefix, isBasic } = header
  const value = isBasic
    ? '\'Basic \' + Buffer.from(secret).toString(\'base64\')'
    : `${prefix === '' ? '' : `${quote(prefix)} + `}secret`
  return `import { readFile } from 'node:fs/promises'
import { ToolError, toolResult } from 'seed-mcp-server'
import type { RequestContext, ToolResult } from 'seed-mcp-server'

/** URL of the API in its description, for calls without an identity. ${url} takes its place. */
const DEFAULT_URL: string = ${quote(defaultUrl)}
/** Limit of a whole call. */
const TIMEOUT_MS = 30_000
/** Limit of an answer: more than this helps no model. */
const MAX_BYTES = 1024 * 1024
/** Characters of an API's own error that the model reads. */
const MAX_ERROR = 500

${REQUEST_TYPES}/** Headers that say who calls, and the secret in them, which no message may hold. */
interface Identity {
  headers: Record<string, string>
  secret?: string
}

/**
 * Calls the API and returns its answer as a tool's result.
 *
 * @throws ToolError with what the model can do about it
 */
export async function ${caller} (context: RequestContext, request: ApiRequest): Promise<ToolResult> {
  const identity = await identify(context)
  const url = toUrl(request, baseUrl(identity))
  const response = await send(context, url, request, identity)
  const text = request.method === 'HEAD' ? '' : await readText(context, response)
  if (!response.ok) throw new ToolError(explain(response, text, identity))
  const structuredContent = toContent(request, response, text)
  return toolResult({ structuredContent, content: [{ type: 'text', text: JSON.stringify(structuredContent) }] })
}

/**
 * Finds who calls the API: the caller of the tool (by a token for the API, or by an assertion of this server), this
 * server (a secret from a file), or nobody.
 */
async function identify (context: RequestContext): Promise<Identity> {
  const audience = setting(${quote(audience)})
  if (audience !== '') {
    const token = await context.tokenFor(audience, { scopes: words(setting(${quote(scopes)})) })
    return { headers: { authorization: \`Bearer \${token}\` }, secret: token }
  }
  const assertionAudience = setting(${quote(assertionAudience)})
  if (assertionAudience !== '') {
    const claims = words(setting(${quote(assertionClaims)}))
    const assertion = await context.assertionFor(assertionAudience, { claims })
    return { headers: { authorization: \`Bearer \${assertion}\` }, secret: assertion }
  }
  const file = setting(${quote(tokenFile)})
  if (file === '') return { headers: {} }
  const secret = (await readFile(file, 'utf8')).trim()
  return { headers: { ${printKey(name)}: ${value} }, secret }
}

function setting (name: string): string {
  return process.env[name] ?? ''
}

/** Splits a list of scopes or claims at spaces and commas. */
function words (text: string): string[] {
  return text.split(/[\\s,]+/).filter((word) => word !== '')
}

/** A secret or token goes only where the operator says, and never unencrypted over a network. */
function baseUrl (identity: Identity): string {
  const given = setting(${quote(url)}) || undefined
  if (given === undefined && (identity.secret !== undefined || DEFAULT_URL === '')) {
    throw new Error('${url} must be the URL of the API')
  }
  const url = new URL(given ?? DEFAULT_URL)
  const isLoopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url.protocol !== 'https:' && identity.secret !== undefined && !isLoopback) {
    throw new Error('${url} must be https, as a secret is sent to it')
  }
  return \`\${url.origin}\${url.pathname.replace(/\\/+$/, '')}\`
}

${REQUESTS_AND_ANSWERS}`
}
