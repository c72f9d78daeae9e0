const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** From one line about the same failure to the next; milliseconds. The last one stays. */
const INTERVALS = [MINUTE, 5 * MINUTE, 25 * MINUTE, 2 * HOUR, 6 * HOUR];
/** A subject that failed last so long ago is gone. */
const FORGET_AFTER = 24 * HOUR;
const TIDY_EVERY = HOUR;
/** Different messages of one subject that are told apart; all others are taken for one. */
const MOST_MESSAGES = 8;

interface Repeat {
  lines: number;
  /** Held back since the last line. */
  held: number;
  /** Monotonic; the next line may come then. */
  due: number;
}

interface Subject {
  failures: number;
  last: number;
  readonly byMessage: Map<string, Repeat>;
}

/**
 * Which of many equal failures is worth a line: the first, then one after 1 minute, 5 and 25 minutes, 2 hours, and every
 * 6 hours. Ten hours of an outage are six lines for each subject, however often it is tried. Failures are equal where
 * subject and message are, but for numbers and identifiers in the message.
 */
export class Repeats {
  readonly #now: () => number;
  readonly #subjects = new Map<string, Subject>();
  #tidied: number;

  /** @param now monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#tidied = now();
  }

  get size(): number {
    return this.#subjects.size;
  }

  /** @returns how many equal failures were held back since the last line, or undefined where this one is, too. */
  failed(subject: string, message: string): number | undefined {
    const now = this.#now();
    const known = this.#subject(subject, now);
    const repeat = repeatOf(known, message);
    known.failures++;
    known.last = now;
    if (now < repeat.due) {
      repeat.held++;
      return undefined;
    }
    const held = repeat.held;
    repeat.held = 0;
    repeat.due = now + (INTERVALS[Math.min(repeat.lines, INTERVALS.length - 1)] ?? Infinity);
    repeat.lines++;
    return held;
  }

  /** It works, or is there no more. @returns how often it had failed. */
  over(subject: string): number {
    const failures = this.#subjects.get(subject)?.failures ?? 0;
    this.#subjects.delete(subject);
    return failures;
  }

  #subject(subject: string, now: number): Subject {
    const known = this.#subjects.get(subject);
    if (known !== undefined) return known;
    if (now - this.#tidied >= TIDY_EVERY) this.#tidy(now);
    const made: Subject = { failures: 0, last: now, byMessage: new Map() };
    this.#subjects.set(subject, made);
    return made;
  }

  #tidy(now: number): void {
    this.#tidied = now;
    for (const [name, subject] of this.#subjects) {
      if (now - subject.last >= FORGET_AFTER) this.#subjects.delete(name);
    }
  }
}

function repeatOf(subject: Subject, message: string): Repeat {
  const plain = message.replace(/[0-9a-f]{8,}|\d+/gi, '#');
  const signature = subject.byMessage.has(plain) || subject.byMessage.size < MOST_MESSAGES ? plain : '';
  const known = subject.byMessage.get(signature);
  if (known !== undefined) return known;
  const made: Repeat = { lines: 0, held: 0, due: -Infinity };
  subject.byMessage.set(signature, made);
  return made;
}
