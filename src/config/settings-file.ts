import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Static, TSchema } from 'typebox'
import type { Validator } from 'typebox/compile'
import { Settings } from 'typebox/system'
import { parseDocument } from 'yaml'
import { ConfigError } from './problem.ts'
import type { Setting } from './problem.ts'

/** A file that a setting names. Most of it is a record of entries with names that the operator chooses. */
export interface SettingsFileForm<Schema extends TSchema> extends EntryTexts {
  setting: Setting
  schema: Validator<{}, Schema>
}

interface EntryTexts {
  /** The member with the entries. */
  entries: string
  /** An entry, in messages: `mount "tickets": …`. */
  noun: string
  article: 'a' | 'an'
  /** The rule for names, in messages. */
  names: string
  /** The rules for names in records of an entry, by their member. */
  memberNames?: Readonly<Record<string, string>>
}

/** The most problems to name. */
const MAX_PROBLEMS = 20
/** The most errors of the schema to read; one problem may be several, as each branch of a union reports its own. */
const MAX_ERRORS = 1_000

/**
 * Reads a file of settings, YAML or JSON.
 *
 * @returns the absolute path, and the content
 * @throws ConfigError with every problem, each naming the file, the entry and the member
 */
export function readSettingsFile<Schema extends TSchema> (
  path: string, form: SettingsFileForm<Schema>
): { file: string, value: Static<Schema> } {
  const file = resolve(path)
  const value = parseFile(file, form.setting)
  checkSettings(value, form, file)
  return { file, value }
}

/** Checks the form of settings that come from a file. @throws ConfigError with every problem, each naming the file */
export function checkSettings<Schema extends TSchema> (
  value: unknown, form: SettingsFileForm<Schema>, file: string
): asserts value is Static<Schema> {
  if (!form.schema.Check(value)) throw toFileError(form.setting, file, describeErrors(value, form))
}

/** Returns the error for a file whose content has these problems. */
export function toFileError (setting: Setting, file: string, problems: readonly string[]): ConfigError {
  return new ConfigError(problems.map((text) => ({ setting, message: `${setting} (${file}): ${text}` })))
}

function parseFile (file: string, setting: Setting): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    throw toFileError(setting, file, [`the file cannot be read (${code}): set ${setting} to a file that Seed may read`])
  }
  // JSON is YAML as well. Aliases that multiply, as in the "billion laughs", are an error of the parser.
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true })
  const [error] = document.errors
  if (error !== undefined) {
    throw toFileError(setting, file, [`it is neither YAML nor JSON: ${error.message.split('\n')[0]}`])
  }
  return document.toJS({ maxAliasCount: 100 })
}

/** Names entry and member of each problem: `mount "tickets": tools.allow must be a list`. */
function describeErrors<Schema extends TSchema> (value: unknown, form: SettingsFileForm<Schema>): string[] {
  if (value === null) return [`the file is empty: write ${form.article} ${form.noun} below "${form.entries}:"`]
  const errors = findErrors(value, form.schema)
    .filter(({ keyword }) => keyword !== 'anyOf' && keyword !== 'additionalProperties')
  const texts = errors
    .filter((error) => !isOfOtherBranch(error, errors))
    .map((error) => `${describePlace(error, form)} ${describeProblem(error, errors, form)}`)
  const problems = [...new Set(texts)]
  const left = problems.length - MAX_PROBLEMS
  return left > 0 ? [...problems.slice(0, MAX_PROBLEMS), `there are ${left} more problems`] : problems
}

/** TypeBox stops after eight errors, a limit of the whole process: others keep it. */
function findErrors (value: unknown, schema: Validator): readonly SchemaError[] {
  const { maxErrors } = Settings.Get()
  Settings.Set({ maxErrors: MAX_ERRORS })
  try {
    return schema.Errors(value)
  } finally {
    Settings.Set({ maxErrors })
  }
}

/**
 * Each branch of a union reports why the value is not of its type. What else is wrong with the value, or inside it, is
 * the problem of the branch that was meant.
 */
function isOfOtherBranch ({ keyword, instancePath }: SchemaError, errors: readonly SchemaError[]): boolean {
  return keyword === 'type' && errors.some((other) => other.instancePath.startsWith(`${instancePath}/`) ||
    (other.instancePath === instancePath && other.keyword !== 'type'))
}

function describePlace ({ instancePath }: SchemaError, { entries, noun }: EntryTexts): string {
  const [, member, name, ...members] = instancePath.split('/').map(unescapePointer)
  if (member !== entries || name === undefined) {
    return [member, name, ...members].filter((part) => part !== undefined).join('.') || 'the file'
  }
  return members.length > 0 ? `${noun} "${name}": ${members.join('.')}` : `${noun} "${name}":`
}

function describeProblem (error: SchemaError, errors: readonly SchemaError[], texts: EntryTexts): string {
  const { keyword, instancePath, params, message } = error
  switch (keyword) {
    case 'type': return `must be ${typesAt(instancePath, errors)}`
    case 'required': return `needs ${(params as { requiredProperties: string[] }).requiredProperties.join(', ')}`
    case 'enum': return `must be ${(params as { allowedValues: string[] }).allowedValues.join(' or ')}`
    case 'minLength': return 'must not be empty'
    case 'boolean': return describeUnknownName(instancePath, texts)
    default: return message
  }
}

/** Describes a name that the file may not have: that of an entry, of a record in an entry, or of a member. */
function describeUnknownName (instancePath: string, { entries, names, memberNames = {} }: EntryTexts): string {
  const [, member, name, ...members] = instancePath.split('/')
  if (member !== entries || name === undefined) return 'is not a known member'
  if (members.length === 0) return `the name must ${names}`
  const rule = members.length === 2 ? memberNames[members[0]!] : undefined
  return rule === undefined ? 'is not a known member' : `has no valid name: it must ${rule}`
}

/** Names the types that a value may have: "true, false or an object". */
function typesAt (path: string, errors: readonly SchemaError[]): string {
  const types = errors.filter(({ keyword, instancePath }) => keyword === 'type' && instancePath === path)
    .map(({ params }) => (params as { type: string }).type)
  const names = [...new Set(types)].map((type) => TYPE_NAMES[type] ?? `a ${type}`)
  return names.length === 1 ? names[0]! : `${names.slice(0, -1).join(', ')} or ${names.at(-1)!}`
}

const TYPE_NAMES: Record<string, string> = {
  boolean: 'true or false', object: 'an object', array: 'a list', integer: 'a whole number', string: 'a text'
}

/** RFC 6901, section 4 */
function unescapePointer (token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~')
}

interface SchemaError {
  keyword: string
  instancePath: string
  params: object
  message: string
}
