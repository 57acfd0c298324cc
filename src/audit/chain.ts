import { createHmac } from 'node:crypto'
import { randomId, timingSafeEquals } from '../crypto/hash.ts'

/** The end of a chain of lines. */
export interface ChainState {
  chain: string
  seq: number
  hash: string
}

export type Chain = ReturnType<typeof createChain>

const HASH_MEMBER = /,"hash":"([\w-]{43})"\}$/

/** Every audit line begins with this; nothing else in the same output does. */
export const LINE_START = '{"audit":1,'

/**
 * Links lines: each contains the number and the HMAC of the one before. Whoever has not the key can neither change,
 * reorder, insert nor remove lines without leaving a mark, except at the end of the chain.
 *
 * @param key AUDIT_CHAIN_KEY
 * @param last the line to continue from; undefined begins a new chain
 */
export function createChain (key: string, last: ChainState | undefined) {
  let state: ChainState = last ?? { chain: randomId(9), seq: 0, hash: '' }
  let next = state

  return {
    /** Returns the line of a record, linked to the last line that was committed. */
    link (record: object): string {
      const { chain, seq, hash: prev } = state
      const text = JSON.stringify({ ...record, chain, seq: seq + 1, prev })
      const hash = hashOf(text, key)
      next = { chain, seq: seq + 1, hash }
      return `${text.slice(0, -1)},"hash":"${hash}"}`
    },
    /** Makes the line that `link` returned last the end of the chain. */
    commit (): void { state = next }
  }
}

/** Returns the end of the chain that a line is, if its HMAC is right. */
export function readChainState (line: string, key: string): ChainState | undefined {
  const hash = HASH_MEMBER.exec(line)?.[1]
  if (!line.startsWith(LINE_START) || hash === undefined) return undefined
  if (!timingSafeEquals(hash, hashOf(line.replace(HASH_MEMBER, '}'), key))) return undefined
  const { chain, seq } = JSON.parse(line) as ChainState
  return { chain, seq, hash }
}

function hashOf (text: string, key: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}

/** A finding of the verification, at a line of a file. */
export interface ChainProblem {
  file: string
  line: number
  kind: 'changed' | 'gap' | 'repeated' | 'unchained'
  message: string
}

/** A chain that was found: complete from `first` to `last`, unless a problem says otherwise. */
export interface FoundChain {
  chain: string
  first: number
  last: number
  lastTime: string
}

export interface Verification {
  lines: number
  /** Lines that are not of the audit log. */
  others: number
  chains: FoundChain[]
  problems: ChainProblem[]
  /** Lines that the server says it could not write. */
  lost: number
}

export type Verifier = ReturnType<typeof createVerifier>

interface Link extends ChainState {
  file: string
  line: number
  prev: string
  time: string
  lost: number
}

interface ChainEnd extends FoundChain {
  hash: string
  lost: number
}

/** Checks lines one after another. Lines of several chains, such as those of several replicas, may alternate. */
export function createVerifier (key: string) {
  const result: Verification = { lines: 0, others: 0, chains: [], problems: [], lost: 0 }
  const ends = new Map<string, ChainEnd>()

  function add (file: string, line: number, kind: ChainProblem['kind'], message: string): void {
    result.problems.push({ file, line, kind, message })
  }

  function follow ({ file, line, chain, seq, prev, hash, time, lost }: Link): void {
    const end = ends.get(chain)
    if (end === undefined) {
      ends.set(chain, { chain, first: seq, last: seq, lastTime: time, hash, lost })
      result.lost += lost
      return
    }
    // The server counts from its start, so the count of a chain that goes on after a restart begins again.
    result.lost += lost < end.lost ? lost : lost - end.lost
    if (seq <= end.last) {
      add(file, line, 'repeated', `line ${seq} of chain ${chain} stands behind line ${end.last}`)
      return
    }
    if (seq > end.last + 1) {
      const missing = seq - end.last - 1
      add(file, line, 'gap', `${missing} line(s) of chain ${chain} are missing, from ${end.last + 1} to ${seq - 1}`)
    } else if (prev !== end.hash) {
      add(file, line, 'changed', `line ${seq} of chain ${chain} does not follow the line before it`)
    }
    Object.assign(end, { last: seq, lastTime: time, hash, lost })
  }

  return {
    /** Checks the next line. `file` and `line` name its place. */
    check (text: string, file: string, line: number): void {
      if (!text.startsWith(LINE_START)) {
        if (text !== '') result.others++
        return
      }
      result.lines++
      const state = readChainState(text, key)
      if (state === undefined) {
        const isUnchained = isJson(text) && !HASH_MEMBER.test(text)
        if (isUnchained) add(file, line, 'unchained', 'this line belongs to no chain')
        else add(file, line, 'changed', 'this line was changed, is incomplete, or was written with another key')
        return
      }
      const { prev, time, lost = 0 } = JSON.parse(text) as { prev: string, time: string, lost?: number }
      follow({ file, line, ...state, prev, time, lost })
    },

    /** Returns what was found so far. */
    result: (): Verification =>
      ({ ...result, chains: [...ends.values()].map(({ hash, lost, ...found }) => found) })
  }
}

function isJson (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
