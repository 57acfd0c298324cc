import { Type } from 'typebox'
import type { Static } from 'typebox'

const CLOSED = { additionalProperties: false }

const EntryName = Type.String({ minLength: 1, maxLength: 1_024 })

/** The members of a choice by name. @param names says whose names they are */
export function selectionMembers (names: string) {
  return {
    allow: Type.Optional(Type.Array(EntryName, {
      maxItems: 1_000, description: `${names}; * stands for any characters. Only these are offered. Default: all`
    })),
    deny: Type.Optional(Type.Array(EntryName, {
      maxItems: 1_000, description: 'Names that are not offered, even if `allow` has them'
    }))
  }
}

/** A choice by name: all (true), nothing (false), or lists of names. */
export function selectionSchema (names: string) {
  return Type.Union([Type.Boolean(), Type.Object(selectionMembers(names), CLOSED)])
}

const AnnotationsSchema = Type.Object({
  readOnlyHint: Type.Optional(Type.Boolean()),
  destructiveHint: Type.Optional(Type.Boolean()),
  idempotentHint: Type.Optional(Type.Boolean()),
  openWorldHint: Type.Optional(Type.Boolean())
}, {
  ...CLOSED, minProperties: 1, description: 'Tools whose annotations say all of this. A mounted server only claims it'
})

const ToolEntrySchema = Type.Union([EntryName, AnnotationsSchema])

/** The members of a choice of tools, by name or annotation. @param names says whose names they are */
export function toolSelectionMembers (names: string) {
  return {
    allow: Type.Optional(Type.Array(ToolEntrySchema, {
      maxItems: 1_000,
      description: `${names}, where * stands for any characters, or annotations. Only tools that fit one are offered`
    })),
    deny: Type.Optional(Type.Array(ToolEntrySchema, {
      maxItems: 1_000, description: 'Names, or annotations, of tools that are not offered, even if `allow` has them'
    }))
  }
}

/** A choice of tools: all (true), none (false), or lists of names and annotations. */
export function toolSelectionSchema (names: string) {
  return Type.Union([Type.Boolean(), Type.Object(toolSelectionMembers(names), CLOSED)])
}

export type ToolSelection = Static<ReturnType<typeof toolSelectionSchema>>
/** What an operator chooses tools by: a name, or annotations. */
export type ToolEntry = Static<typeof ToolEntrySchema>
export type AnnotationsEntry = Static<typeof AnnotationsSchema>
export type Selection = Static<ReturnType<typeof selectionSchema>>
