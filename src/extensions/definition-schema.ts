import { Type } from 'typebox'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Definition } from '../define/definition.ts'
import { NonEmptyName } from '../json/member-names.ts'

/** Everything that an extension may declare, for authors who have no compiler. */

const MAX_TEXT = 1_024
const MAX_DESCRIPTION = 65_536
/** The longest JSON of a schema or of `_meta`, in characters: lists repeat it to every client. */
const MAX_JSON = 262_144
const MAX_ITEMS = 100
const DAY_SECONDS = 86_400

const FunctionType = Type.Refine(Type.Unknown(), (value) => typeof value === 'function', () => 'must be a function')
const Json = Type.Refine(Type.Unknown(), isJson, () => `must be an object with JSON of at most ${MAX_JSON} characters`)
const ObjectSchema = Type.Refine(
  Json,
  (schema) => (schema as { type?: unknown }).type === 'object',
  () => 'must be the schema of an object, as Type.Object makes it'
)
const Functions = Type.Refine(Type.Unknown(), isRecordOfFunctions, () => 'must be an object of functions')
const Name = Type.String({ minLength: 1, maxLength: MAX_TEXT })
const ClaimValue = Type.Union([Type.String(), Type.Number(), Type.Boolean()])

const policy = {
  scopes: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: MAX_TEXT }), { maxItems: MAX_ITEMS })),
  groups: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: MAX_TEXT }), { maxItems: MAX_ITEMS })),
  claims: Type.Optional(Type.Record(
    NonEmptyName,
    Type.Union([ClaimValue, Type.Array(ClaimValue, { maxItems: MAX_ITEMS })]),
    { additionalProperties: false }
  )),
  principalKind: Type.Optional(Type.Enum(['person', 'service'])),
  // Their values are checked where definitions of a program are checked too (src/policy/authentication-policy.ts).
  maxAge: Type.Optional(Type.Number()),
  acr: Type.Optional(Type.Array(Type.String(), { maxItems: MAX_ITEMS }))
}

const description = {
  name: Name,
  title: Type.Optional(Type.String({ maxLength: MAX_TEXT })),
  description: Type.Optional(Type.String({ maxLength: MAX_DESCRIPTION })),
  icons: Type.Optional(Type.Array(Type.Object({
    src: Type.String({ minLength: 1, maxLength: MAX_DESCRIPTION }),
    mimeType: Type.Optional(Type.String({ maxLength: MAX_TEXT })),
    sizes: Type.Optional(Type.Array(Type.String({ maxLength: MAX_TEXT }), { maxItems: MAX_ITEMS })),
    theme: Type.Optional(Type.Enum(['light', 'dark']))
  }), { maxItems: MAX_ITEMS })),
  // Node's timers fire at once for what they cannot count.
  timeoutSeconds: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: DAY_SECONDS })),
  _meta: Type.Optional(Json),
  endpoints: Type.Optional(Type.Array(Type.String({ pattern: '^/mcp(/[a-z][a-z0-9-]{0,31})?$' }), {
    minItems: 1, maxItems: MAX_ITEMS
  }))
}

const resource = {
  ...policy,
  ...description,
  mimeType: Type.Optional(Type.String({ maxLength: MAX_TEXT })),
  annotations: Type.Optional(Type.Object({
    audience: Type.Optional(Type.Array(Type.Enum(['user', 'assistant']))),
    priority: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    lastModified: Type.Optional(Type.String({ maxLength: MAX_TEXT }))
  })),
  cache: Type.Optional(Type.Object({
    ttlSeconds: Type.Number({ minimum: 0, maximum: 366 * DAY_SECONDS }),
    scope: Type.Optional(Type.Enum(['public', 'private']))
  }))
}

/** A member that is not known may be a rule with a typing error: it is refused rather than ignored. */
const STRICT = { additionalProperties: false }

const MEMBERS = {
  tool: Type.Object({
    kind: Type.Literal('tool'),
    ...policy,
    ...description,
    description: Type.String({ maxLength: MAX_DESCRIPTION }),
    input: ObjectSchema,
    output: Type.Optional(ObjectSchema),
    annotations: Type.Optional(Type.Object({
      title: Type.Optional(Type.String({ maxLength: MAX_TEXT })),
      readOnlyHint: Type.Optional(Type.Boolean()),
      destructiveHint: Type.Optional(Type.Boolean()),
      idempotentHint: Type.Optional(Type.Boolean()),
      openWorldHint: Type.Optional(Type.Boolean())
    })),
    handler: FunctionType
  }, STRICT),
  prompt: Type.Object({
    kind: Type.Literal('prompt'),
    ...policy,
    ...description,
    arguments: Type.Optional(ObjectSchema),
    complete: Type.Optional(Functions),
    handler: FunctionType
  }, STRICT),
  resource: Type.Object({
    kind: Type.Literal('resource'),
    ...resource,
    uri: Type.String(),
    size: Type.Optional(Type.Integer({ minimum: 0 })),
    read: FunctionType,
    watch: Type.Optional(FunctionType)
  }, STRICT),
  'resource-template': Type.Object({
    kind: Type.Literal('resource-template'),
    ...resource,
    uriTemplate: Type.String(),
    params: Type.Optional(ObjectSchema),
    complete: Type.Optional(Functions),
    list: Type.Optional(FunctionType),
    read: FunctionType
  }, STRICT)
} satisfies Record<Definition['kind'], TSchema>

const VALIDATORS = {
  tool: Compile(MEMBERS.tool),
  prompt: Compile(MEMBERS.prompt),
  resource: Compile(MEMBERS.resource),
  'resource-template': Compile(MEMBERS['resource-template'])
}

/** Checks everything that a definition declares. @throws Error that names the first member that is wrong */
export function checkDeclaration (definition: Definition): void {
  const { kind, name } = definition
  const validator = VALIDATORS[kind]
  const declared = withoutUndefined(definition)
  if (validator.Check(declared)) return
  const label = typeof name === 'string' ? JSON.stringify(name.slice(0, MAX_TEXT)) : 'without a name'
  throw new Error(`${kind} ${label}: ${describeProblem(validator.Errors(declared)[0]!)}`)
}

interface Problem {
  keyword: string
  instancePath: string
  message: string
  params: object
}

function describeProblem ({ keyword, instancePath, message, params }: Problem): string {
  const path = instancePath.slice(1).replaceAll('/', '.')
  if (keyword === 'boolean') return `${path} is not a member that Seed knows`
  if (keyword === 'required') {
    const [missing] = (params as { requiredProperties: string[] }).requiredProperties
    return `${path === '' ? '' : `${path}.`}${missing} is missing`
  }
  return `${path} ${message}`
}

/** Members that are undefined are as good as absent. */
function withoutUndefined (definition: Definition): Record<string, unknown> {
  return Object.fromEntries(Object.entries(definition).filter(([, value]) => value !== undefined))
}

function isJson (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  try {
    return JSON.stringify(value).length <= MAX_JSON
  } catch {
    return false
  }
}

function isRecordOfFunctions (value: unknown): boolean {
  return typeof value === 'object' && value !== null &&
    Object.values(value).every((member) => typeof member === 'function')
}
