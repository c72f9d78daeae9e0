import type { StepOutcome } from '../contract/observer.ts';
import { resourceText, type Action, type Reason, type Step } from '../plan/step.ts';
import type { Log, LogFields, LogLevel } from './log.ts';
import { Repeats } from './repeats.ts';

const DONE: Record<Action, string> = {
  create: 'created',
  update: 'updated',
  replace: 'replaced',
  delete: 'deleted',
  noop: 'settled',
  refuse: 'refused',
};

const VERBS: Record<Action, string> = {
  create: 'create',
  update: 'update',
  replace: 'replace',
  delete: 'delete',
  noop: 'settle',
  refuse: 'settle',
};

/** What became of an object to which nothing was done. */
const SETTLED: Partial<Record<Reason, string>> = {
  Adopted: 'adopted',
  Orphaned: 'let go',
  Gone: 'found gone',
  Expired: 'found expired',
  Suspended: 'suspended',
};

const NOT_DONE: Record<Exclude<StepOutcome['status'], 'done' | 'unchanged'>, string> = {
  refused: 'refused to',
  failed: 'failed to',
  skipped: 'did not',
  interrupted: 'did not',
};

const LEVELS: Record<StepOutcome['status'], LogLevel> = {
  done: 'info',
  unchanged: 'debug',
  refused: 'warn',
  skipped: 'warn',
  interrupted: 'warn',
  failed: 'error',
};

interface Drift {
  readonly action: Action;
  /** Monotonic milliseconds. */
  readonly since: number;
}

/**
 * Lines about steps. A drift that is corrected is one line: drift found, step and correction belong together, in
 * whichever order the last two come. What fails, is refused or skipped again and again is told as `Repeats` says.
 */
export class StepLines {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #repeats: Repeats;
  readonly #drifts = new Map<string, Drift>();
  /** Corrections whose step is still to come. */
  readonly #told = new WeakSet<Step>();

  constructor(log: Log, now: () => number) {
    this.#log = log;
    this.#now = now;
    this.#repeats = new Repeats(now);
  }

  driftFound(step: Step): void {
    this.#drifts.set(step.object, { action: step.action, since: this.#now() });
    this.#log.debug(`found drift of ${subjectOf(step)}${pathsOf(step)}`, fieldsOf(step));
  }

  driftCorrected(step: Step, seconds: number): void {
    // Gone from the list: its step was told already.
    if (!this.#drifts.has(step.object)) return;
    this.#told.add(step);
    this.#corrected(step, seconds);
  }

  stepped(step: Step, outcome: StepOutcome, seconds: number): void {
    if (outcome.status === 'done') this.#done(step, seconds);
    else if (outcome.status === 'unchanged') this.#over(step, `in order ${subjectOf(step)}`, 'debug', seconds);
    else this.#notDone(step, outcome.status, outcome.message, seconds);
  }

  #done(step: Step, seconds: number): void {
    if (this.#told.has(step)) return;
    const drift = this.#drifts.get(step.object);
    if (drift?.action === step.action) {
      this.#corrected(step, (this.#now() - drift.since) / 1_000);
      return;
    }
    this.#drifts.delete(step.object);
    const what = step.action === 'noop' ? (SETTLED[step.reason] ?? DONE.noop) : DONE[step.action];
    this.#over(step, `${what} ${subjectOf(step)}${pathsOf(step)}`, LEVELS.done, seconds);
  }

  /** @param seconds since the foreign change was seen. */
  #corrected(step: Step, seconds: number): void {
    this.#drifts.delete(step.object);
    const what = step.action === 'create' ? ': it was gone' : pathsOf(step);
    this.#over(step, `corrected drift of ${subjectOf(step)}${what}`, LEVELS.done, seconds, { drift: true });
  }

  #over(step: Step, message: string, level: LogLevel, seconds: number, more: LogFields = {}): void {
    const failures = this.#repeats.over(step.object);
    const after = failures === 0 ? {} : { failures };
    const result = level === 'debug' ? 'unchanged' : 'done';
    this.#log[level](message, { ...fieldsOf(step), result, seconds: rounded(seconds), ...after, ...more });
  }

  #notDone(step: Step, status: keyof typeof NOT_DONE, message: string, seconds: number): void {
    const why = [message, step.message].find((text) => text !== '') ?? step.reason;
    const held = this.#repeats.failed(step.object, `${status} ${step.action} ${step.reason} ${why}`);
    if (held === undefined) return;
    const what = step.action === 'refuse' ? 'refused' : `${NOT_DONE[status]} ${VERBS[step.action]}`;
    const again = held === 0 ? {} : { repeated: held };
    const fields = { ...fieldsOf(step), result: status, seconds: rounded(seconds), ...again };
    this.#log[LEVELS[status]](`${what} ${subjectOf(step)}: ${why}`, fields);
  }
}

function subjectOf(step: Step): string {
  return `${resourceText(step)} ${step.object}`;
}

/** Which fields, never what they hold: a log is read by more people than a plan. */
function pathsOf(step: Step): string {
  return step.changes.length === 0 || step.action === 'create' ? '' : `: ${namesOf(step).join(', ')}`;
}

function namesOf(step: Step): string[] {
  return step.changes.map((change) => change.path);
}

function fieldsOf(step: Step): LogFields {
  const { kind, namespace, name, object, action, reason } = step;
  return { kind, namespace, name, object, action, reason, fields: namesOf(step) };
}

/** To a tenth of a millisecond. */
function rounded(seconds: number): number {
  return Math.round(seconds * 10_000) / 10_000;
}
