import { findCause } from '../errors/causes.ts'
import type { Cause, CauseCode } from '../errors/causes.ts'
import { withoutControls } from '../json/printable.ts'
import type { RecordedStep } from './record.ts'

/** A sign-in as it went. */
export interface Story {
  reference: string
  /** ISO 8601 */
  began: string
  /** Whether everything that is recorded went well, and nothing is missing. */
  completed: boolean
  /** The step at which it stopped; undefined if it has completed. */
  stoppedAt: string | undefined
  /** Code of the cause. */
  cause: string | undefined
  /** The reason, as the log has it. */
  reason: string | undefined
  /** The remedy. */
  remedy: string | undefined
  settings: readonly string[]
  steps: readonly RecordedStep[]
}

/** Names the step that is missing after one that went well. */
function whatIsMissing ({ step }: RecordedStep, mode: 'broker' | 'proxy'): CauseCode | undefined {
  switch (step) {
    case 'authorize': return 'consent_not_answered'
    case 'consent': return mode === 'broker' ? 'provider_not_returned' : 'provider_not_returned_proxy'
    case 'connections sign-in': return 'provider_not_returned'
    case 'callback': return 'code_not_redeemed'
    case 'token': return 'token_not_used'
    default: return undefined
  }
}

/**
 * Finds where a sign-in stopped, and what would help.
 *
 * @param steps at least one
 */
export function tellStory (reference: string, steps: readonly RecordedStep[], mode: 'broker' | 'proxy'): Story {
  const last = steps.at(-1)!
  const isFailure = last.error !== undefined || last.cause !== undefined || last.status >= 400
  const cause = isFailure ? last.cause : whatIsMissing(last, mode)
  const known: Cause | undefined = findCause(cause)
  const completed = !isFailure && cause === undefined
  return {
    reference,
    began: new Date(steps[0]!.at).toISOString(),
    completed,
    stoppedAt: completed ? undefined : last.step,
    cause,
    reason: isFailure ? last.reason : undefined,
    remedy: known?.remedy ?? (completed ? undefined : NO_REMEDY),
    settings: known?.settings ?? [],
    steps
  }
}

const NO_REMEDY = 'See the reason, and the lines of the log with these request ids'

/** Prints a story for people. What strangers have sent keeps to its line. */
export function formatStory (story: Story): string {
  const clean = JSON.parse(JSON.stringify(story, cleanText)) as Story
  const { reference, began, steps } = clean
  return [
    `Sign-in ${reference}, ${began.slice(0, 19).replace('T', ' ')} UTC`,
    ...steps.map(formatStep),
    formatEnd(clean)
  ].join('\n\n')
}

function cleanText (_name: string, value: unknown): unknown {
  return typeof value === 'string' ? withoutControls(value) : value
}

function formatStep (recorded: RecordedStep): string {
  const { step, at, ms, request, status, outcome, error, reason, facts = {}, provider = [] } = recorded
  const time = new Date(at).toISOString().slice(11, 19)
  const result = error === undefined ? outcome ?? 'Done' : `Failed: ${error}`
  return [
    `${time}  ${step}: ${result} (status ${status}, ${Math.round(ms)} ms, request ${request})`,
    ...Object.entries(facts).map(([name, value]) => `          ${name}: ${value}`),
    ...provider.map(({ asked, ms, problem = 'usable' }) => `          ${asked} of the provider, ${ms} ms: ${problem}`),
    ...(reason === undefined ? [] : [`          reason: ${reason}`])
  ].join('\n')
}

function formatEnd ({ completed, stoppedAt, cause, reason, remedy, settings }: Story): string {
  if (completed) return 'The sign-in has succeeded'
  const isSaid = remedy !== undefined && reason?.includes(remedy) === true
  return [
    `Stopped at: ${stoppedAt}${cause === undefined ? '' : ` (${cause})`}`,
    ...(reason === undefined ? [] : [`Reason: ${reason}`]),
    ...(isSaid ? [] : [`What helps: ${remedy}`]),
    ...(settings.length === 0 ? [] : [`Settings: ${settings.join(', ')}`])
  ].join('\n')
}
