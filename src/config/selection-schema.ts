import { Type } from 'typebox'
import type { Static } from 'typebox'

/** An entry of a choice by name. */
export const EntryName = Type.String({ minLength: 1, maxLength: 1_024 })

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
  return Type.Union([Type.Boolean(), Type.Object(selectionMembers(names), { additionalProperties: false })])
}

export type Selection = Static<ReturnType<typeof selectionSchema>>
