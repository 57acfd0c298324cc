import type { TokenAnswer } from '../support/sign-in.ts'
import { until } from '../support/until.ts'
import type { SeedUnderTest } from './provider.ts'

/** Rejects unless something holds. */
export function check (holds: boolean, what: string): void {
  if (!holds) throw new Error(`Not so: ${what}`)
}

/** Compares as JSON. */
export function equal (found: unknown, wanted: unknown, what: string): void {
  const [is, should] = [JSON.stringify(found), JSON.stringify(wanted)]
  if (is !== should) throw new Error(`${what}: ${is} instead of ${should}`)
}

/**
 * Resolves in a later second. Tokens say in whole seconds when they were issued, so one of the second in which older
 * tokens are revoked counts as new at Keycloak, and as old at Seed.
 */
export async function nextSecond (count = 1): Promise<void> {
  const second = Math.floor(Date.now() / 1_000)
  await until(() => Date.now() / 1_000 >= second + count, 'the next second')
}

/** Calls a tool without arguments. @throws Error for any other answer than a result */
export async function resultOf (
  seed: SeedUnderTest, token: string, tool: string
): Promise<{ isError?: boolean, structuredContent: Record<string, unknown> }> {
  const { status, body } = await seed.call({ access_token: token } as TokenAnswer, tool)
  const { result } = body as { result?: Awaited<ReturnType<typeof resultOf>> }
  if (result === undefined) throw new Error(`${tool} answered ${status} ${JSON.stringify(body)}`)
  return result
}
