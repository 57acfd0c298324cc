import { readFile, stat } from 'node:fs/promises'
import { resolve as resolveRefs } from '@apidevtools/json-schema-ref-parser'
import type { $Refs } from '@apidevtools/json-schema-ref-parser'
import { compileErrors, validate } from '@readme/openapi-parser'
import { parse as parseYaml } from 'yaml'
import { withoutControls } from '../json/printable.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { boundedFetch } from '../net/fetch.ts'
import { cleanText } from './texts.ts'

/** Size of a description: GitHub's has 13 MB. */
const MAX_BYTES = 32 * 1024 * 1024
const MAX_LEVELS = 100
/** Values in a description, each use of a YAML alias counted: GitHub's has 700,000. */
const MAX_VALUES = 5_000_000
const TIMEOUT_MS = 60_000
/** References that lead to references. */
const MAX_REFERENCES = 20
const MAX_ERROR = 2_000

export type Json = Record<string, unknown>

/** An OpenAPI description that is valid. Its texts and names are a stranger's. */
export interface ApiDescription {
  document: Json
  /** Its address, if it was fetched. */
  url: string | undefined
  /**
   * Follows the reference that a value is, if it is one. References to other files and addresses are refused.
   *
   * @throws ImportError
   */
  resolve (value: unknown): Json
}

/** A description, or a part of it, of which no tools can be made. The message says why, without control characters. */
export class ImportError extends Error {
  override readonly name = 'ImportError'

  constructor (message: string, options?: ErrorOptions) {
    super(withoutControls(message), options)
  }
}

/**
 * Reads a description from a file or an https URL, and checks it against the OpenAPI Specification.
 *
 * @throws ImportError
 */
export async function readDescription (source: string): Promise<ApiDescription> {
  const text = await readSource(source)
  const document = parseDocument(text)
  const version = document['openapi']
  if (typeof version !== 'string' || !/^3\.[01]\./.test(version)) {
    const found = document['swagger'] === undefined ? JSON.stringify(version) : `Swagger ${String(document['swagger'])}`
    throw new ImportError(`The description must be OpenAPI 3.0 or 3.1 (it is ${found}). ` +
      'Convert older ones first, for example with npx swagger2openapi')
  }
  await checkDocument(document)
  return await createDescription(document, isUrl(source) ? source : undefined)
}

/** @throws ImportError */
export async function createDescription (document: Json, url?: string): Promise<ApiDescription> {
  const refs = await resolveRefs(document as never, { resolve: { external: false } })
  return { document, url, resolve: (value) => follow(refs, value) }
}

async function readSource (source: string): Promise<string> {
  if (!isUrl(source)) return await readLocalFile(source)
  const url = URL.canParse(source) ? new URL(source) : undefined
  const isSecure = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname))
  if (url === undefined || !isSecure) throw new ImportError(`${source} must be a file or an https URL`)
  const headers = { accept: 'application/json, application/yaml;q=0.9, */*;q=0.5' }
  const { status, body } = await boundedFetch(url, { headers }, { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES })
  if (status !== 200) throw new ImportError(`${url.origin}${url.pathname} answered ${status}`)
  return body
}

function isUrl (source: string): boolean {
  return /^[a-z][a-z\d+.-]+:\/\//i.test(source)
}

async function readLocalFile (path: string): Promise<string> {
  try {
    if ((await stat(path)).size > MAX_BYTES) throw new ImportError(`${path} has more than ${MAX_BYTES} bytes`)
    return await readFile(path, 'utf8')
  } catch (err) {
    if (err instanceof ImportError) throw err
    throw new ImportError(`${path} cannot be read (${(err as NodeJS.ErrnoException).code})`, { cause: err })
  }
}

function parseDocument (text: string): Json {
  let value: unknown
  try {
    value = /^\s*\{/.test(text) ? JSON.parse(text) : parseYaml(text, { version: '1.2', logLevel: 'error' })
  } catch (err) {
    throw new ImportError(`The description is neither JSON nor YAML: ${firstLine(err)}`, { cause: err })
  }
  if (!isJsonObject(value)) throw new ImportError('The description is not an object')
  checkSize(value)
  return value
}

function checkSize (document: unknown): void {
  let values = 0
  const count = (value: unknown, level: number): void => {
    if (++values > MAX_VALUES || level > MAX_LEVELS) {
      throw new ImportError(`The description has more than ${MAX_VALUES} values, or more than ${MAX_LEVELS} levels`)
    }
    if (typeof value !== 'object' || value === null) return
    for (const inner of Object.values(value)) count(inner, level + 1)
  }
  count(document, 0)
}

/** Checks a copy, as the validator replaces references in what it gets. Mistakes that do not matter are allowed. */
async function checkDocument (document: Json): Promise<void> {
  try {
    const result = await validate(structuredClone(document) as never, {
      resolve: { external: false },
      validate: { errors: { colorize: false }, rules: { openapi: LENIENT_RULES } }
    })
    if (!result.valid) throw new ImportError(cleanText(compileErrors(result), MAX_ERROR))
  } catch (err) {
    throw new ImportError(`The description is not valid OpenAPI: ${firstLine(err)}`, { cause: err })
  }
}

const LENIENT_RULES = {
  'array-without-items': 'warning',
  'duplicate-non-request-body-parameters': 'warning',
  'duplicate-operation-id': 'warning',
  'invalid-security-scheme-properties': 'warning',
  'non-optional-path-parameters': 'warning',
  'path-parameters-not-in-parameters': 'warning',
  'path-parameters-not-in-path': 'warning'
} as const

function firstLine (err: unknown): string {
  return (err as Error).message.split('\n')[0]!
}

function follow (refs: $Refs, value: unknown): Json {
  let target = value
  for (let count = 0; isJsonObject(target) && typeof target['$ref'] === 'string'; count++) {
    const reference = target['$ref']
    if (!reference.startsWith('#')) {
      throw new ImportError(`it refers to ${reference}, which is not in this file: put all into one file first, ` +
        'for example with npx @redocly/cli bundle')
    }
    if (count === MAX_REFERENCES) throw new ImportError(`the reference ${reference} leads in a circle`)
    try {
      target = refs.get(reference)
    } catch (err) {
      throw new ImportError(`it refers to ${reference}, which does not exist`, { cause: err })
    }
  }
  return isJsonObject(target) ? target : {}
}

export function isJsonObject (value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
