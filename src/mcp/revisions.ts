import { SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server'

/** The revision without sessions, in which each request stands alone. */
export const MODERN_REVISION = '2026-07-28'

/** The revisions with sessions that the SDK supports, newest first. */
export const SESSION_REVISIONS: readonly string[] =
  SUPPORTED_PROTOCOL_VERSIONS.filter((revision) => revision < MODERN_REVISION)

/** All revisions that this server speaks, newest first. */
export const REVISIONS: readonly string[] = [MODERN_REVISION, ...SESSION_REVISIONS]

/** Batches were removed after 2025-03-26. */
export function hasBatches (revision: string): boolean {
  return revision <= '2025-03-26'
}

/** Clients of revisions before 2025-11-25 report an event without data as a broken message. */
export function hasEmptyEvents (revision: string): boolean {
  return revision >= '2025-11-25'
}
