interface Note {
  text: string
  isProgress: boolean
}

/** Limit of one note; longer ones are left out. */
const MAX_NOTE_CHARACTERS = 65_536
/** Limits of notes that wait until the store has taken those before them: they are one event. */
const MAX_WAITING = 100
const MAX_WAITING_CHARACTERS = 262_144
/** Limit of all notes: the store holds them until the other replica has the answer. */
const MAX_CHARACTERS = 1_048_576

/** What a held call passes on for its client while it runs for another replica. Too much of it is left out. */
export class HeldCallNotes {
  #waiting: Note[] = []
  #takenCharacters = 0

  /**
   * Adds a note. Progress takes the place of progress that still waits.
   *
   * @returns whether it is passed on
   */
  add (note: Note): boolean {
    const others = note.isProgress ? this.#waiting.filter(({ isProgress }) => !isProgress) : this.#waiting
    const waiting = [...others, note]
    const characters = countCharacters(waiting)
    if (
      note.text.length > MAX_NOTE_CHARACTERS ||
      waiting.length > MAX_WAITING ||
      characters > MAX_WAITING_CHARACTERS ||
      this.#takenCharacters + characters > MAX_CHARACTERS
    ) return false
    this.#waiting = waiting
    return true
  }

  /** Whether more should wait until these are taken. Otherwise one that is no progress, and progress, still fit. */
  get isHalfFull (): boolean {
    return this.#waiting.length >= MAX_WAITING / 2 || countCharacters(this.#waiting) >= MAX_WAITING_CHARACTERS / 2
  }

  /** Returns the notes that wait, which do so no longer. */
  take (): string[] {
    const taken = this.#waiting
    this.#waiting = []
    this.#takenCharacters += countCharacters(taken)
    return taken.map(({ text }) => text)
  }
}

function countCharacters (notes: Note[]): number {
  return notes.reduce((sum, { text }) => sum + text.length, 0)
}
