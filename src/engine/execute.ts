import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { messageOf, TargetError } from '../contract/errors.ts';
import type { ObjectType, SettledDesired } from '../contract/kind.ts';
import type { StepOutcome } from '../contract/observer.ts';
import { fingerprint } from '../plan/diff.ts';
import { inDependencyOrder } from '../plan/plan.ts';
import {
  keyText,
  readable,
  resourceText,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type PlannedStep,
} from '../plan/step.ts';
import { Deferred, isEqual, settled, type Fields } from '../plan/value.ts';
import { recompose } from './compose.ts';
import { observeOne } from './observe.ts';
import { connectionBehind, typeOf, type World } from './world.ts';

/** What became of a step. */
export type Result = StepOutcome;

export interface ExecuteOptions {
  readonly world: World;
  /** Aborted: no step begins any more; what is running is finished and recorded. */
  readonly drain: AbortSignal;
  /** Called once for each step, as soon as its result is known. */
  readonly onResult?: (planned: PlannedStep, result: Result) => void;
  /** Leaves the inventory to the ledger's next save instead of waiting for it at the end. */
  readonly savesLater?: boolean;
  /** Tries of a step that fails for a passing reason. */
  readonly attempts?: number;
  /** Waits before a failed write is tried again; milliseconds for attempt 1, 2, ... */
  readonly backoff?: (attempt: number) => number;
}

const ATTEMPTS = 5;
const halfToFullJitter = (attempt: number): number => 250 * 2 ** attempt * (0.5 + Math.random() / 2);

/**
 * Carries out a plan.
 *
 * Guarantees: every create is in the inventory as pending, saved, before it is sent, and so is what a change shall have the
 * inventory remember; an object is written only after
 * all that it depends on; what depends on something that failed is skipped, everything else goes on; deletions come
 * after all writes, dependents first, and never for a resource of which a write failed (a token is not deleted before
 * its successor's secret is where readers find it). When the promise resolves, the inventory is saved.
 * @throws what saving the inventory threw: then nothing further was begun; and, once everything is through and saved,
 * the first error that was no TargetError.
 */
export async function execute(steps: readonly PlannedStep[], options: ExecuteOptions): Promise<Map<string, Result>> {
  const run = new Run(options);
  await options.world.ledger.intend(steps.filter(makes).map((planned) => intentOf(planned)));
  await run.writes(steps.filter((s) => !isDeletion(s)));
  await run.deletions(steps.filter(isDeletion));
  if (options.savesLater !== true) await options.world.ledger.flush();
  if (run.surprise !== undefined) throw run.surprise as Error;
  return run.results;
}

/** What makes something of which the inventory does not say yet that we are about to make just that. */
function makes(planned: PlannedStep): boolean {
  const { action } = planned.step;
  if (action !== 'create' && action !== 'replace') return false;
  return planned.owned === undefined || intentOf(planned).intent !== planned.owned.intent;
}

function isDeletion(planned: PlannedStep): boolean {
  return planned.step.action === 'delete';
}

/**
 * What the inventory holds from before a create until its result is known. What was ours under that key is gone, and so
 * is its identifier: what stands there after a crash is ours only if it is what was intended. What was remembered of it
 * (its expiry) stays.
 */
function intentOf(planned: PlannedStep): Owned {
  const desired = desiredOf(planned);
  const deferred = Object.values(desired.fields).some((value) => value instanceof Deferred);
  const detail = { ...planned.owned?.detail, ...desired.detail };
  return {
    ...ownership(desired, false),
    state: 'pending',
    ...(!deferred && { intent: fingerprint(settled(desired.fields), desired.rules) }),
    ...(Object.keys(detail).length > 0 && { detail }),
  };
}

/** Whether the inventory would not know by what it remembers what a change that is interrupted leaves there. */
function remembersMore({ desired, owned }: PlannedStep): boolean {
  return Object.entries(desired?.detail ?? {}).some(([name, value]) => !isEqual(value, owned?.detail?.[name] ?? null));
}

/** What the inventory holds from before such a change until its result is known. */
function rewritten(planned: PlannedStep): Owned {
  const desired = desiredOf(planned);
  const entry: Owned = planned.owned ?? { ...ownership(desired, true), state: 'owned' };
  return { ...entry, detail: { ...entry.detail, ...desired.detail } };
}

function withDetail(entry: Owned, more: Fields | undefined): Owned {
  return more === undefined ? entry : { ...entry, detail: { ...entry.detail, ...more } };
}

function ownership(desired: Desired, adopted: boolean): Omit<Owned, 'state'> {
  const { key, resource, deletionPolicy, suspended, source } = desired;
  return { key, resource, adopted, deletionPolicy, suspended, source };
}

function desiredOf(planned: PlannedStep): Desired {
  if (planned.desired === undefined) throw new Error(`step ${planned.step.object} declares nothing`);
  return planned.desired;
}

class Run {
  readonly results = new Map<string, Result>();
  /** The first error that nobody expected. */
  surprise: unknown;
  readonly #options: ExecuteOptions;
  readonly #limits = new Map<string, ReturnType<typeof pLimit>>();
  readonly #failedResources = new Set<string>();

  constructor(options: ExecuteOptions) {
    this.#options = options;
  }

  async writes(steps: readonly PlannedStep[]): Promise<void> {
    const running = new Map<string, Promise<Result>>();
    for (const planned of inDependencyOrder(steps)) {
      const awaited = planned.dependsOn.flatMap((key) => running.get(keyText(key)) ?? []);
      running.set(keyText(planned.key), this.#write(planned, awaited));
    }
    await Promise.all(running.values());
  }

  /** By type, dependents first; a type begins when the one before it is through. */
  async deletions(steps: readonly PlannedStep[]): Promise<void> {
    for (const type of deletionOrder(this.#options.world, steps)) {
      const ofType = steps.filter((s) => s.key.type === type.name);
      await Promise.all(ofType.map((planned) => this.#delete(planned, type)));
    }
  }

  async #write(planned: PlannedStep, awaited: readonly Promise<Result>[]): Promise<Result> {
    const failed = (await Promise.all(awaited)).some((r) => r.status !== 'done' && r.status !== 'unchanged');
    return this.#settle(planned, await this.#writeResult(planned, failed));
  }

  async #writeResult(planned: PlannedStep, dependencyFailed: boolean): Promise<Result> {
    if (planned.step.action === 'refuse') return { status: 'refused', message: planned.step.message };
    if (planned.step.action === 'noop') return this.#leave(planned);
    if (dependencyFailed) return { status: 'skipped', message: 'something that it depends on failed' };
    return this.#limit(planned)(() => this.#attempts(planned, (current) => this.#perform(current)));
  }

  async #delete(planned: PlannedStep, type: ObjectType): Promise<Result> {
    const result = this.#failedResources.has(resourceText(planned.step))
      ? ({ status: 'skipped', message: 'another step of this resource failed' } as const)
      : await this.#limit(planned)(() => this.#attempts(planned, (current) => this.#remove(current, type)));
    return this.#settle(planned, result);
  }

  #settle(planned: PlannedStep, result: Result): Result {
    this.results.set(planned.step.object, result);
    const failed = result.status !== 'done' && result.status !== 'unchanged';
    // An undeclared object that must stay (a mount with foreign roles) holds back nothing else of its resource.
    if (failed && !(result.status === 'refused' && planned.desired === undefined)) {
      this.#failedResources.add(resourceText(planned.step));
    }
    this.#options.onResult?.(planned, result);
    return result;
  }

  #limit(planned: PlannedStep): ReturnType<typeof pLimit> {
    const { world } = this.#options;
    const id = `${typeOf(world, planned.key.type).connection}/${planned.key.connection}`;
    const limit = this.#limits.get(id) ?? pLimit(connectionBehind(world, planned.key)?.maxConnections ?? 16);
    this.#limits.set(id, limit);
    return limit;
  }

  /** Tries a step again after a transient failure, each time from what the server then holds. */
  async #attempts(planned: PlannedStep, perform: (current: PlannedStep) => Promise<Result>): Promise<Result> {
    const most = this.#options.attempts ?? ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      if (this.#options.drain.aborted) return { status: 'interrupted', message: 'interrupted before it began' };
      try {
        return await perform(attempt === 1 ? planned : await this.#lookAgain(planned));
      } catch (error) {
        if (!(error instanceof TargetError)) {
          this.surprise ??= error;
          return { status: 'failed', message: messageOf(error) };
        }
        if (error.class !== 'transient' || attempt === most)
          return { status: 'failed', message: error.message, errorClass: error.class };
        await this.#pause(attempt);
      }
    }
  }

  async #pause(attempt: number): Promise<void> {
    const ms = (this.#options.backoff ?? halfToFullJitter)(attempt);
    await sleep(ms, undefined, { signal: this.#options.drain }).catch(() => undefined);
  }

  /** The request may have been carried out although its reply was lost: a create may have become a noop. */
  async #lookAgain(planned: PlannedStep): Promise<PlannedStep> {
    const { world } = this.#options;
    if (planned.desired === undefined) return planned;
    await observeOne(world, planned.desired, new AbortController().signal);
    return recompose(world, planned);
  }

  async #perform(planned: PlannedStep): Promise<Result> {
    const { world } = this.#options;
    const current = this.#fresh(planned);
    const { action, message } = current.step;
    if (action === 'refuse') return { status: 'failed', message };
    if (action === 'noop') return this.#note(current);
    const desired = settle(desiredOf(current));
    const type = typeOf(world, current.key.type);
    const foretold = await type.foretell?.(world.io, desired);
    const isNew = current.live === undefined;
    if (foretold !== undefined || (isNew ? current !== planned : remembersMore(current)))
      await world.ledger.intend([withDetail(isNew ? intentOf(current) : rewritten(current), foretold)]);
    const live = await this.#writing(current.key, type, async () => {
      const sent = await this.#send(type, desired, current.live);
      world.view.put(current.key, type, sent, current.live);
      return sent;
    });
    const stamp = desired.stamp === undefined ? {} : { [desired.stamp]: world.now() };
    this.#record(current, live, current.step.reason === 'Adopted', stamp);
    return { status: 'done', message: '' };
  }

  async #writing<T>(key: ObjectKey, type: ObjectType, write: () => Promise<T>): Promise<T> {
    const { view } = this.#options.world;
    view.writing(key, type);
    try {
      return await write();
    } finally {
      view.wrote(key, type);
    }
  }

  /** What was deferred is known now that everything before it is done. */
  #fresh(planned: PlannedStep): PlannedStep {
    const deferred = Object.values(desiredOf(planned).fields).some((value) => value instanceof Deferred);
    return deferred ? recompose(this.#options.world, planned) : planned;
  }

  async #send(type: ObjectType, desired: SettledDesired, live: Live | undefined): Promise<Live> {
    const { io } = this.#options.world;
    if (live === undefined && type.create) return type.create(io, desired);
    if (live !== undefined && type.update) return type.update(io, desired, live);
    throw new Error(`objects of type ${type.name} are only looked at`);
  }

  async #remove(planned: PlannedStep, type: ObjectType): Promise<Result> {
    const { world } = this.#options;
    const { key, live, owned } = planned;
    if (live === undefined || owned === undefined) throw new Error(`step ${planned.step.object} has nothing to delete`);
    await this.#writing(key, type, async () => {
      const index = await type.remove?.(world.io, { key, live, owned });
      world.view.put(key, type, undefined, live, index);
    });
    world.ledger.forget(key);
    return { status: 'done', message: '' };
  }

  /** What an interrupted create left beside an object that is not ours goes, before the inventory forgets it. */
  async #leave(planned: PlannedStep): Promise<Result> {
    const { world } = this.#options;
    if (planned.step.reason !== 'Gone') return this.#note(planned);
    return this.#attempts(planned, async () => {
      await typeOf(world, planned.key.type).abandon?.(world.io, planned.key);
      return this.#note(planned);
    });
  }

  /** A step that writes nothing to the servers may still change what the inventory holds. */
  #note(planned: PlannedStep): Result {
    const { reason } = planned.step;
    const { ledger } = this.#options.world;
    if (reason === 'Orphaned' || reason === 'Gone') ledger.forget(planned.key);
    else if (reason === 'Adopted' && planned.live) this.#record(planned, planned.live, true);
    else if ((reason === 'InSync' || reason === 'Rotated') && planned.live)
      this.#record(planned, planned.live, planned.owned?.adopted ?? false);
    else if (reason === 'Suspended' && planned.owned && planned.desired)
      ledger.record({ ...planned.owned, suspended: true });
    return { status: 'unchanged', message: '' };
  }

  #record(planned: PlannedStep, live: Live, adopted: boolean, stamp: Fields = {}): void {
    const { world } = this.#options;
    const desired = desiredOf(planned);
    const type = typeOf(world, planned.key.type);
    const detail = { ...desired.detail, ...type.remember?.(live), ...stamp };
    // An event of the write may have told by now what its reply did not.
    const id = live.id ?? readable(world.view.get(planned.key.connection, type.name, planned.key.name))?.id;
    const entry: Owned = {
      ...ownership(desired, planned.owned?.state === 'owned' ? planned.owned.adopted : adopted),
      state: 'owned',
      ...(id !== undefined && { id }),
      ...(Object.keys(detail).length > 0 && { detail }),
    };
    world.ledger.record(entry);
  }
}

function settle(desired: Desired): SettledDesired {
  const deferred = Object.entries(desired.fields).find(([, value]) => value instanceof Deferred);
  if (deferred !== undefined) {
    throw new TargetError(`${keyText(desired.key)}: ${deferred[0]} is still not known`, { class: 'transient' });
  }
  return { ...desired, fields: settled(desired.fields) };
}

/** Types whose objects are deleted, each before the types that it comes after; what is part of a whole comes after it. */
export function deletionOrder(world: World, steps: readonly PlannedStep[]): ObjectType[] {
  const types = [...new Set(steps.map((s) => s.key.type))].map((name) => typeOf(world, name));
  const ordered: ObjectType[] = [];
  const visit = (type: ObjectType): void => {
    if (ordered.includes(type)) return;
    if (!type.partOf)
      types.filter((other) => other.after.includes(type.name) && other.partOf === undefined).forEach(visit);
    ordered.push(type);
  };
  types.filter((type) => !type.partOf).forEach(visit);
  types.filter((type) => type.partOf).forEach(visit);
  return ordered;
}
