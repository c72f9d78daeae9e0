import type { Desire } from '../../../src/contract/source.ts';
import { kinds } from '../../../src/kinds/index.ts';
import type { LoadOptions } from '../../../src/sources/directory/index.ts';
import { watchDirectory, type WatchOptions } from '../../../src/sources/directory/watch.ts';
import { ENVIRONMENT, type Folder } from './loading.ts';

const LONGEST_MS = 20_000;

/** Follows a folder in a test. */
export class Follower {
  readonly #abort = new AbortController();
  readonly #views: AsyncGenerator<Desire, void>;
  #next: Promise<IteratorResult<Desire, void>> | undefined;
  /** All that was said so far. */
  readonly seen: Desire[] = [];

  constructor(
    folder: Folder,
    paths: readonly string[] = ['.'],
    watch: Partial<WatchOptions> = {},
    more: Partial<LoadOptions> = {},
  ) {
    const { path: base } = folder;
    const options = { kinds, paths, base, cwd: base, owner: 'default', environment: ENVIRONMENT, ...more };
    this.#views = watchDirectory(options, { signal: this.#abort.signal, settleMs: 30, vanishMs: 200, ...watch });
  }

  /** The next thing that is said, from now on or since the last one was taken. */
  async next(): Promise<Desire> {
    const { done, value } = await this.#taken();
    if (done === true) throw new Error('it is over');
    this.seen.push(value);
    return value;
  }

  async #taken(): Promise<IteratorResult<Desire, void>> {
    const next = (this.#next ??= this.#views.next());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`nothing more was said; the last was ${JSON.stringify(this.seen.at(-1) ?? null)}`));
      }, LONGEST_MS);
    });
    try {
      return await Promise.race([next, late]);
    } finally {
      clearTimeout(timer);
      this.#next = undefined;
    }
  }

  /** The first view of that kind; those before it are in `seen`. */
  async until(isIt: (desire: Desire) => boolean): Promise<Desire> {
    for (;;) {
      const desire = await this.next();
      if (isIt(desire)) return desire;
    }
  }

  /** Until exactly these are declared, and nothing is wrong. */
  async untilDeclared(...names: readonly string[]): Promise<Desire> {
    const wanted = [...names].sort().join();
    return this.until((desire) => policies(desire).sort().join() === wanted && desire.errors.length === 0);
  }

  async isDone(): Promise<boolean> {
    return (await this.#taken()).done === true;
  }

  abort(): void {
    this.#abort.abort();
  }

  [Symbol.dispose](): void {
    this.abort();
  }
}

/** The names of the policies. */
export function policies({ resources }: Desire): string[] {
  return resources.filter(({ kind }) => kind === 'AclPolicy').map(({ metadata }) => metadata.name);
}

/** `name=description` of the policies. */
export function described({ resources }: Desire): string[] {
  return resources
    .filter(({ kind }) => kind === 'AclPolicy')
    .map(({ metadata, spec }) => `${metadata.name}=${(spec as { description?: string }).description ?? ''}`);
}

/** Until it is disposed of, the tests run as somebody whom permissions bind. */
export function unprivileged(): Disposable {
  if (process.geteuid?.() !== 0) return { [Symbol.dispose]: () => undefined };
  process.seteuid?.(65534);
  return { [Symbol.dispose]: () => process.seteuid?.(0) };
}
