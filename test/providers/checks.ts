/** Rejects unless something holds. */
export function check (holds: boolean, what: string): void {
  if (!holds) throw new Error(`Not so: ${what}`)
}

/** Compares as JSON. */
export function equal (found: unknown, wanted: unknown, what: string): void {
  const [is, should] = [JSON.stringify(found), JSON.stringify(wanted)]
  if (is !== should) throw new Error(`${what}: ${is} instead of ${should}`)
}
