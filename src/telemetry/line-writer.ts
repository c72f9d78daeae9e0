import { writeSync } from 'node:fs';

const PAUSE_MS = 10;
/** How long a line may wait for a reader that is behind: a second. A lease must not run out over a log. */
const MOST_PAUSES = 100;

/**
 * Writes whole lines to a file descriptor, each before the call returns. What it does not take, as on a full disk or
 * with a reader that stands still, is lost: nothing is kept in memory, and the next line that gets through is whole.
 */
export class LineWriter {
  readonly #fd: number;
  /** The last line was lost in the middle. */
  #isTorn = false;
  /** The reader stood still: not waited for again until it takes something. */
  #isStuck = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws what the system says, but for a reader that is behind. */
  write(line: string): void {
    const bytes = Buffer.from(this.#isTorn ? `\n${line}` : line);
    let written = 0;
    try {
      for (let pauses = 0; written < bytes.length; pauses++) {
        const taken = this.#take(bytes.subarray(written));
        written += taken;
        if (taken > 0) this.#isStuck = false;
        else if (this.#isStuck || pauses >= MOST_PAUSES) break;
        else pause();
      }
    } finally {
      if (written < bytes.length) this.#isStuck = true;
      if (written > 0) this.#isTorn = written < bytes.length;
    }
  }

  /** @returns how many bytes were taken; 0 where the pipe is full. */
  #take(bytes: Buffer): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      if ((error as { code?: string }).code === 'EAGAIN') return 0;
      throw error;
    }
  }
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
}
