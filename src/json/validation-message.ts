import type { Validator } from 'typebox/compile'
import type { TLocalizedValidationError } from 'typebox/error'
import { Errors } from 'typebox/value'

/** The most problems to name in one message. */
const MAX_PROBLEMS = 5
/** A place may be named by the sender, where a schema describes members of any name. */
const MAX_PATH = 200
/** Members of the value that may be read to find the problems: about two milliseconds. */
const MAX_READS = 3_000
const TOO_COMPLEX = 'they do not match the schema, and are too complex to name the place'

/**
 * Describes why a value does not match a schema, for whoever sent the value.
 *
 * A validator that collects errors tries all branches of a union, at each level of a recursive schema: the time doubles
 * with each level of the value, which may be chosen to cost minutes. So the search reads a limited number of members.
 */
export function describeValidationError (validator: Validator, value: unknown): string {
  try {
    const problems = Errors(validator.Context(), validator.Type(), limitReads(value, MAX_READS))
    return withoutRepetitions(problems)
      .slice(0, MAX_PROBLEMS)
      .map((problem) => `${problem.instancePath.slice(1, MAX_PATH) || 'they'} ${describeProblem(problem, value)}`)
      .join('; ')
  } catch {
    return TOO_COMPLEX
  }
}

/** An unknown member is reported twice, with its object and by itself. Leaves out what says less. */
function withoutRepetitions (problems: readonly TLocalizedValidationError[]): TLocalizedValidationError[] {
  const isRefusedMember = ({ keyword, schemaPath }: TLocalizedValidationError): boolean =>
    keyword === 'boolean' && schemaPath.endsWith('/additionalProperties')
  const repeated = problems.some(isRefusedMember) ? isRefusedMember : isAdditionalProperties
  return problems.filter((problem) => !repeated(problem))
}

function isAdditionalProperties ({ keyword }: TLocalizedValidationError): boolean {
  return keyword === 'additionalProperties'
}

function describeProblem (problem: TLocalizedValidationError, value: unknown): string {
  const { keyword, params, message } = problem
  if (keyword === 'type') return `${message}, not ${typeName(valueAt(value, problem.instancePath))}`
  if (keyword !== 'additionalProperties') return message
  return `must not have ${params.additionalProperties.join(', ').slice(0, MAX_PATH)}`
}

/** @param pointer a JSON pointer (RFC 6901) to a value that exists */
function valueAt (value: unknown, pointer: string): unknown {
  return pointer.split('/').slice(1).reduce<unknown>(
    (parent, name) => (parent as Record<string, unknown>)[name.replaceAll('~1', '/').replaceAll('~0', '~')],
    value
  )
}

function typeName (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

/** Returns a view of a value that throws when more members were read, at whatever depth. */
function limitReads (value: unknown, max: number): unknown {
  let reads = 0

  function countRead (): void {
    if (++reads > max) throw new RangeError('Too many reads')
  }

  const handler: ProxyHandler<object> = {
    get (target, name) {
      countRead()
      const member: unknown = Reflect.get(target, name)
      // A proxy must return a member that cannot change as it is.
      const isFixed = Reflect.getOwnPropertyDescriptor(target, name)?.configurable === false
      return isFixed ? member : view(member)
    },
    has (target, name) {
      countRead()
      return Reflect.has(target, name)
    },
    ownKeys (target) {
      countRead()
      return Reflect.ownKeys(target)
    },
    getOwnPropertyDescriptor (target, name) {
      countRead()
      return Reflect.getOwnPropertyDescriptor(target, name)
    }
  }

  function view (member: unknown): unknown {
    return typeof member === 'object' && member !== null ? new Proxy(member, handler) : member
  }

  return view(value)
}
