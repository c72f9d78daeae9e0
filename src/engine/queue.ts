import type { Clock } from '../contract/clock.ts';

/**
 * Keys that wait for their turn.
 *
 * Guarantees: a key has one slot, and the earliest of its deadlines wins; equal keys never run at once: what is added
 * while its key runs waits until that is done, and then runs; nothing is handed out before `open`. Keys that are due
 * come in the order in which they became due.
 */
export class Queue {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  /** Due and not running, in order: since when, monotonic. */
  #due = new Map<string, number>();
  /** Not due yet: monotonic deadline. */
  readonly #waiting = new Map<string, number>();
  readonly #order = new Deadlines();
  readonly #running = new Set<string>();
  /** Added while running: monotonic deadline. */
  readonly #again = new Map<string, number>();
  #isOpen = false;
  #isTold = false;
  #alarm: { readonly at: number; readonly cancel: () => void } | undefined;

  /** @param onDue told, in a later microtask, when there is something to take. */
  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** @param delay milliseconds from now. @returns whether it did not wait already. */
  add(key: string, delay = 0): boolean {
    const at = this.#clock.monotonic() + delay;
    const isNew = !this.waits(key);
    if (this.#running.has(key)) this.#again.set(key, Math.min(at, this.#again.get(key) ?? Infinity));
    else this.#schedule(key, at);
    return isNew;
  }

  /** Whether a key waits for a turn, beside the one that may be running. */
  waits(key: string): boolean {
    return this.#due.has(key) || this.#waiting.has(key) || this.#again.has(key);
  }

  /** Takes every key that is due, each with the monotonic moment since when. Each must be given back with `done`. */
  take(): ReadonlyMap<string, number> {
    if (!this.#isOpen) return new Map();
    this.#ripen();
    const due = this.#due;
    this.#due = new Map();
    for (const key of due.keys()) this.#running.add(key);
    return due;
  }

  done(key: string): void {
    if (!this.#running.delete(key)) return;
    const at = this.#again.get(key);
    this.#again.delete(key);
    if (at !== undefined) this.#schedule(key, at);
  }

  open(): void {
    this.#isOpen = true;
    this.#tell();
  }

  /** Hands out nothing more, and sets no more alarms. */
  close(): void {
    this.#isOpen = false;
    this.#alarm?.cancel();
    this.#alarm = undefined;
  }

  #schedule(key: string, at: number): void {
    if (this.#due.has(key)) return;
    if (at <= this.#clock.monotonic()) {
      this.#waiting.delete(key);
      this.#due.set(key, at);
      this.#tell();
    } else if (at < (this.#waiting.get(key) ?? Infinity)) {
      this.#waiting.set(key, at);
      this.#order.push(at, key);
      this.#setAlarm();
    }
  }

  #ripen(): void {
    const now = this.#clock.monotonic();
    for (let next = this.#order.first(); next !== undefined && next.at <= now; next = this.#order.first()) {
      this.#order.shift();
      // An entry that an earlier deadline has overtaken is dead.
      if (this.#waiting.get(next.key) !== next.at) continue;
      this.#waiting.delete(next.key);
      this.#due.set(next.key, next.at);
    }
    this.#setAlarm();
  }

  #setAlarm(): void {
    const at = this.#order.first()?.at;
    if (!this.#isOpen || at === undefined || (this.#alarm !== undefined && this.#alarm.at <= at)) return;
    this.#alarm?.cancel();
    const cancel = this.#clock.after(Math.max(0, at - this.#clock.monotonic()), () => {
      this.#alarm = undefined;
      this.#ripen();
      this.#tell();
    });
    this.#alarm = { at, cancel };
  }

  #tell(): void {
    if (!this.#isOpen || this.#isTold || (this.#due.size === 0 && this.#order.first() === undefined)) return;
    this.#setAlarm();
    if (this.#due.size === 0) return;
    this.#isTold = true;
    queueMicrotask(() => {
      this.#isTold = false;
      if (this.#isOpen && this.#due.size > 0) this.#onDue();
    });
  }
}

/** A binary heap: the earliest deadline is first. */
class Deadlines {
  readonly #heap: { readonly at: number; readonly key: string }[] = [];

  first(): { readonly at: number; readonly key: string } | undefined {
    return this.#heap[0];
  }

  push(at: number, key: string): void {
    const heap = this.#heap;
    heap.push({ at, key });
    for (let i = heap.length - 1; i > 0;) {
      const parent = (i - 1) >> 1;
      if (this.#at(parent) <= this.#at(i)) return;
      this.#swap(i, parent);
      i = parent;
    }
  }

  shift(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let i = 0; ;) {
      const [left, right] = [2 * i + 1, 2 * i + 2];
      const least = this.#at(right) < this.#at(left) ? right : left;
      if (this.#at(i) <= this.#at(least)) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #at(i: number): number {
    return this.#heap[i]?.at ?? Infinity;
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return;
    this.#heap[i] = b;
    this.#heap[j] = a;
  }
}
