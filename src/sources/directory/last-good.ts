import type { ManifestError, Resource } from '../../contract/resource.ts';
import { nameOf } from './claims.ts';
import type { Contents } from './contents.ts';
import { fromEnvironment, type EnvironmentResource } from './environment.ts';
import type { LoadOptions } from './index.ts';
import type { Known } from './known-files.ts';
import { Trial, type Outcome, type Part, type PartFault } from './trial.ts';

/** What is declared at one moment. */
export interface View {
  readonly resources: readonly Resource[];
  readonly errors: readonly ManifestError[];
  /** Names of the files of which not everything that they may declare is in the resources. */
  readonly unknown: readonly string[];
}

/**
 * Puts files together so that a mistake harms nothing but its own file: of a file with a mistake, the state in which it last
 * had none stands for it.
 * - Who held a name or a live object keeps it; the mistake is the newcomer's.
 * - Where no state of its file resolves a conflict, the newcomer's resource alone is left out.
 * - A resource that vanished, with its file or from it, stays for a while, unless another one takes its place.
 * - No connection of the environment stands in as long as something that can't be read may declare that connection.
 */
export class LastGood {
  readonly #options: LoadOptions;
  readonly #vanishMs: number;
  readonly #environment: readonly EnvironmentResource[];
  #resources: readonly Resource[] = [];
  /** The last view, if nothing was wrong with it and nothing on its way out: the same contents make the same one again. */
  #calm: { readonly contents: readonly Contents[]; readonly isComplete: boolean; readonly view: View } | undefined;
  /** Until when what vanished stays, by name. */
  #until: ReadonlyMap<string, number> = new Map();
  /** Whose sinks have nothing wrong: to look at them needs the file system. */
  readonly #checked = new WeakSet<Contents>();

  constructor(options: LoadOptions, vanishMs: number) {
    this.#options = options;
    this.#vanishMs = vanishMs;
    this.#environment = fromEnvironment(options.environment, options.kinds, options.cwd);
  }

  /** When the next resource that vanished is given up. */
  get deadline(): number {
    let first = Infinity;
    for (const until of this.#until.values()) first = Math.min(first, until);
    return first;
  }

  /** @param isComplete whether everything was found. @param now milliseconds of a clock that never goes back. */
  async view(files: readonly Known[], isComplete: boolean, now: number): Promise<View> {
    const contents = files.map(({ current }) => current);
    const calm = this.#calm;
    if (calm !== undefined && calm.isComplete === isComplete && isSame(calm.contents, contents)) return calm.view;
    const view = await this.#view(files, isComplete, now);
    const isCalm = view.errors.length === 0 && view.unknown.length === 0 && this.#until.size === 0;
    this.#calm = isCalm ? { contents, isComplete, view } : undefined;
    return view;
  }

  async #view(files: readonly Known[], isComplete: boolean, now: number): Promise<View> {
    const parts = files.map((known): Part => ({ known, contents: isGood(known.current) ? known.current : known.good }));
    const errors = parts.flatMap(({ known }) => known.current.errors);
    for (let isFirst = true; ; isFirst = false) {
      const outcome = await this.#try(parts, isComplete, now);
      if (isFirst) for (const error of outcome.errors) errors.push(error);
      const culprits = new Set(outcome.faults.filter(isRevocable).map(({ part }) => part));
      if (culprits.size === 0) return this.#settle(parts, outcome, errors, now);
      for (const { part, error } of outcome.faults) if (error !== undefined && culprits.has(part)) errors.push(error);
      for (const part of culprits) part.contents = part.known.good;
    }
  }

  #try(parts: readonly Part[], isComplete: boolean, now: number): Promise<Outcome> {
    const lingers = (resource: Resource): boolean => this.#untilOf(resource, now) > now;
    const before = { resources: this.#resources, lingers, checked: this.#checked };
    return new Trial(parts, this.#options, this.#environment, before).run(isComplete);
  }

  #settle(parts: readonly Part[], outcome: Outcome, errors: ManifestError[], now: number): View {
    for (const { part, error, isClaim } of outcome.faults) {
      if (error !== undefined && (isClaim || part.contents === part.known.current)) errors.push(error);
    }
    const unknown = new Set(outcome.faults.filter(({ isClaim }) => isClaim).map(({ part }) => part.known.file.name));
    for (const { known, contents } of parts) {
      if (contents === undefined) unknown.add(known.file.name);
      else known.good = contents;
    }
    this.#until = new Map(outcome.lingering.map((resource) => [nameOf(resource), this.#untilOf(resource, now)]));
    this.#resources = [...outcome.resources, ...outcome.lingering];
    return { resources: this.#resources, errors, unknown: [...unknown] };
  }

  #untilOf(resource: Resource, now: number): number {
    return this.#until.get(nameOf(resource)) ?? now + this.#vanishMs;
  }
}

function isSame(a: readonly Contents[], b: readonly Contents[]): boolean {
  return a.length === b.length && a.every((contents, i) => contents === b[i]);
}

function isGood({ errors, isComplete }: Contents): boolean {
  return errors.length === 0 && isComplete;
}

/** Whether an earlier state of the file can stand for it, or none where what it says now is of no use. */
function isRevocable({ part: { contents, known }, isClaim }: PartFault): boolean {
  return contents !== undefined && contents !== known.good && (known.good !== undefined || !isClaim);
}
