import { TargetError, UsageError } from '../contract/errors.ts';
import type { Variable, VariablePlace, VariablesApi, WriteOutcome } from '../contract/variables.ts';
import type { Waiting } from '../contract/clock.ts';
import { CONTENT, WRITER } from './variable-content.ts';

/** Tries of one write; between two of them a pause that doubles, milliseconds. */
const TRIES = 4;
const PAUSE_MS = 200;

export interface WriterOptions {
  readonly api: VariablesApi;
  readonly clock: Waiting;
  /** Unique to this process, readable for people: it is named in the message of a conflict. */
  readonly writer: string;
}

/** What a look at the variable says about our write. */
type Finding = { readonly is: 'done'; readonly index: number } | { readonly is: 'again'; readonly index: number };

/**
 * Check-and-set writes whose replies may be lost. What was carried out without our knowing is known again by its writer,
 * also when it arrives later than it was given up; what anybody else wrote is never overwritten.
 */
export class VariableWriter {
  readonly #options: WriterOptions;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /**
   * @param index that the variable had when we last knew; 0 where there was none.
   * @returns its new index. @throws UsageError where somebody else changed it, TargetError where it is not known what became of it.
   */
  put(place: VariablePlace, content: string, index: number): Promise<number> {
    const { api, writer } = this.#options;
    const items = { [CONTENT]: content, [WRITER]: writer };
    return this.#settle(
      place,
      index,
      (cas) => api.write(place, items, cas),
      (current, cas) => {
        if (current?.items[WRITER] === writer && current.items[CONTENT] === content)
          return { is: 'done', index: current.modifyIndex };
        return this.#again(place, current, cas);
      },
    );
  }

  /** @throws as `put`. */
  async remove(place: VariablePlace, index: number): Promise<void> {
    const { api } = this.#options;
    await this.#settle(
      place,
      index,
      (cas) => api.remove(place, cas),
      (current, cas) => (current === undefined ? { is: 'done', index: 0 } : this.#again(place, current, cas)),
    );
  }

  async #settle(
    place: VariablePlace,
    index: number,
    send: (cas: number) => Promise<WriteOutcome>,
    judge: (current: Variable | undefined, cas: number) => Finding,
  ): Promise<number> {
    let cas = index;
    for (let tries = 1; ; tries++) {
      const outcome = await this.#sent(place, send(cas));
      if (outcome.written) return outcome.modifyIndex;
      const finding = judge(outcome.current, cas);
      if (finding.is === 'done') return finding.index;
      if (tries === TRIES) throw outcome.failure ?? new UsageError(changedByOthers(place, outcome.current));
      cas = finding.index;
      await this.#options.clock.sleep(PAUSE_MS * 2 ** (tries - 1));
    }
  }

  /** Where there was no reply, or one that shows nothing, a look at the variable takes its place. */
  async #sent(place: VariablePlace, sent: Promise<WriteOutcome>): Promise<WriteOutcome & { failure?: TargetError }> {
    try {
      const outcome = await sent;
      if (outcome.written || outcome.current !== undefined) return outcome;
      return { written: false, current: await this.#options.api.read(place) };
    } catch (error) {
      if (!(error instanceof TargetError) || !error.ambiguous) throw error;
      return { written: false, current: await this.#options.api.read(place), failure: error };
    }
  }

  /** Not carried out yet, or an earlier one of ours was; anything else is somebody else's. */
  #again(place: VariablePlace, current: Variable | undefined, cas: number): Finding {
    const index = current?.modifyIndex ?? 0;
    if (current?.lockId === undefined && (index === cas || current?.items[WRITER] === this.#options.writer))
      return { is: 'again', index };
    throw new UsageError(changedByOthers(place, current));
  }
}

function changedByOthers({ path, namespace }: VariablePlace, current: Variable | undefined): string {
  const what =
    current === undefined
      ? 'was removed by somebody else'
      : current.lockId !== undefined
        ? 'is locked by somebody else'
        : `was changed by ${current.items[WRITER] ?? 'somebody else'}`;
  return `the Nomad variable ${path} (namespace ${namespace}) ${what}: two operators use one inventory; give each its own with --state, or stop one and start the other anew`;
}
