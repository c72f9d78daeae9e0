import { setMaxListeners } from 'node:events';
import type { Observer, StepOutcome } from '../contract/observer.ts';
import type { Reporter, ResourceReport } from '../contract/report.ts';
import { idOf, type Resource } from '../contract/resource.ts';
import type { Desire, DesireChange } from '../contract/source.ts';
import { messageOf, UsageError } from '../contract/errors.ts';
import {
  isWrite,
  keyText,
  kindIn,
  resourceText,
  type ObjectKey,
  type PlannedStep,
  type Unreadable,
} from '../plan/step.ts';
import { canonical } from '../plan/value.ts';
import type { Clock } from '../contract/clock.ts';
import { heirOf, othersAt } from './claims.ts';
import { composeFor } from './compose.ts';
import { Contests } from './contests.ts';
import { execute } from './execute.ts';
import { isTooMuch, takesAway } from './mass-deletion.ts';
import { Queue } from './queue.ts';
import { Readiness, verdictOf, type StepResult } from './readiness.ts';
import { reportOf } from './report.ts';
import type { DependencyState } from '../plan/plan.ts';
import { existenceLookup, indexLookup, objectLookup } from './tracker.ts';
import { filedUnder, type ViewChange } from './view.ts';
import { byId, connectionBehind, contextOf, kindOf, type World } from './world.ts';

export interface ControllerOptions {
  readonly world: World;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** Lets more be deleted at once than the guard of mass deletions does. */
  readonly allowMassDelete: boolean;
  /**
   * Reads the live objects of these resources, so that what is there already is not taken for absent.
   * @param seen told of each resource as soon as all of it was read.
   * @returns those that could not be read.
   */
  readonly look: (ids: readonly string[], seen?: (id: string) => void) => Promise<ReadonlySet<string>>;
  /** Told of what is about to be written. @returns what is called when that is done. */
  readonly writing: (steps: readonly PlannedStep[]) => () => void;
  /** Told how each resource came out of each pass. */
  readonly report?: Reporter | undefined;
}

/** What came of a pass over one resource. */
interface Settled {
  readonly results: readonly StepResult[];
  readonly isDrift: (planned: PlannedStep) => boolean;
  /** It is declared as it was when the pass began. */
  readonly isCurrent: boolean;
  readonly seconds: number;
}

/** A look that takes longer than this is told of; milliseconds. */
const SLOW_MS = 3_000;
/** Delays before a resource is tried again; milliseconds. */
const AGAIN_MS = { dependency: 5_000, denied: 30_000, least: 250, most: 60_000 };

/**
 * Keeps the live objects equal to the declared ones, one resource at a time.
 *
 * Guarantees: of one resource, one pass runs at a time; a change of a live object, of the declaration or of what a
 * resource depends on leads to a pass, and nothing else does but the retry of one that failed and a deadline of its own;
 * all that are due are planned together, so that they share one save of the inventory; no error ends it but one of the
 * inventory itself, which `run` throws.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue: Queue;
  readonly #readiness: Readiness;
  readonly #contests: Contests;
  readonly #passes = new Set<Promise<void>>();
  readonly #drain = new AbortController();
  readonly #ended = new AbortController();
  /** Which resource declares an object. */
  readonly #declarers = new Map<string, string>();
  readonly #declared = new Map<string, readonly string[]>();
  /** Objects that must not be written now. */
  readonly #refused = new Set<string>();
  /** How often in a row a resource failed without its being known what became of it. */
  readonly #troubles = new Map<string, number>();
  /** Resources whose live objects were not read yet. */
  readonly #unseen = new Set<string>();
  /** Resources that wait for something that is not there yet. */
  readonly #waiting = new Set<string>();
  /** Resources whose spec changed since their last pass: a difference is no drift then. */
  readonly #edited = new Set<string>();
  /** When a foreign change of a resource's live objects was seen that is not corrected yet; monotonic milliseconds. */
  readonly #seen = new Map<string, number>();
  /** Resources that are declared no more, and whose deletion waits for a person. */
  #held = new Set<string>();
  /** What the world calls `resources` and `deleting`. */
  #resources = new Map<string, Resource>();
  #deleting = new Map<string, Resource>();
  #failure: unknown;

  constructor(options: ControllerOptions) {
    this.#options = options;
    // Every delay listens to it.
    setMaxListeners(0, this.#ended.signal, this.#drain.signal);
    this.#queue = new Queue(options.clock, () => {
      this.#begin(this.#queue.take());
    });
    this.#readiness = new Readiness((kind, counts) => {
      options.observer.resources(kind, counts);
    });
    this.#contests = new Contests(options.clock);
    options.world.view.onChange = (change) => {
      this.#changed(change);
    };
    options.world.ledger.onFailure = (error) => {
      this.#notSaved(error);
    };
  }

  /** Aborted when it ends by itself, because the inventory can't be saved. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Runs until the signal is aborted; then lets running writes finish, and saves. @throws what saving the inventory threw. */
  async run(signal: AbortSignal): Promise<void> {
    const { world } = this.#options;
    const end = (): void => {
      this.#ended.abort();
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    this.#queue.open();
    await untilAborted(this.#ended.signal);
    signal.removeEventListener('abort', end);
    this.#queue.close();
    this.#drain.abort();
    while (this.#passes.size > 0) await Promise.all(this.#passes);
    if (this.#failure !== undefined) throw this.#failure as Error;
    await world.ledger.flush();
  }

  /** Takes a new declaration in the place of the one before. What is new is looked at before anything is done to it. */
  update(desire: Desire): void {
    const { world, observer } = this.#options;
    const before = world.resources;
    this.#resources = byId(desire.resources);
    this.#deleting = byId(desire.deleting ?? []);
    world.resources = this.#resources;
    world.deleting = this.#deleting;
    const changed = [...world.resources]
      .filter(([id, resource]) => !isSame(before.get(id), resource))
      .map(([id]) => id);
    for (const id of changed) if (!isSameSpec(before.get(id), world.resources.get(id))) this.#edited.add(id);
    const gone = this.#undeclared();
    for (const id of before.keys()) if (!world.resources.has(id)) this.#readiness.forget(id);
    const held = this.#hold(gone.filter((id) => !this.#deleting.has(id)));
    observer.desired(world.resources.size, desire.errors, held);
    this.#look(changed, new Set([...gone, ...this.#deleting.keys()]));
  }

  /** Takes in what became of some resources. */
  change({ changed, deleting, gone }: DesireChange): void {
    const { world, observer } = this.#options;
    const touched = changed.filter((resource) => !isSame(world.resources.get(resourceText(idOf(resource))), resource));
    const undeclared = [...deleting.map((resource) => resourceText(idOf(resource))), ...gone];
    const vanished = gone.filter((id) => !this.#deleting.has(id));
    for (const [id, resource] of byId(touched)) {
      if (!isSameSpec(this.#resources.get(id), resource)) this.#edited.add(id);
      this.#resources.set(id, resource);
      this.#deleting.delete(id);
    }
    for (const id of undeclared) if (this.#resources.delete(id)) this.#readiness.forget(id);
    for (const id of gone) this.#deleting.delete(id);
    for (const [id, resource] of byId(deleting)) this.#deleting.set(id, resource);
    const isOwned = (id: string): boolean => !this.#resources.has(id) && world.ledger.ownedBy(id).length > 0;
    const held = this.#hold([...new Set([...this.#held, ...vanished])].filter(isOwned));
    observer.desired(world.resources.size, [], held);
    this.#look([...byId(touched).keys()], new Set(undeclared));
  }

  /** Looks at resources again, and at what they stand for. @param ids those that are neither declared nor owned count for nothing. */
  reconcile(ids: Iterable<string>): void {
    const { world } = this.#options;
    const known = [...ids].filter(
      (id) => world.resources.has(id) || world.deleting.has(id) || world.ledger.ownedBy(id).length > 0,
    );
    for (const id of known) this.#unseen.add(id);
    this.#background(this.#see(known));
  }

  #look(changed: readonly string[], undeclared: ReadonlySet<string>): void {
    const { world } = this.#options;
    for (const id of changed) this.#readiness.set(id, 'Unknown');
    const touched = [...changed, ...undeclared];
    const rivals = [...undeclared].flatMap((id) => world.tracker.neighboursOf(id));
    // Recorded beforehand, so that what is told of their live objects meanwhile is not missed.
    for (const id of touched) this.#unseen.add(id);
    composeFor(world, new Set(touched), (key) => this.#stateOf(key));
    for (const id of new Set(rivals)) if (world.resources.has(id)) this.#enqueue(id);
    this.#background(this.#see(touched));
  }

  /** Looks until everything was seen; each resource has its pass as soon as it was. */
  async #see(ids: readonly string[]): Promise<void> {
    for (let left = ids; left.length > 0 && !this.#ended.signal.aborted;) {
      const looking = left;
      const cancel = this.#options.clock.after(SLOW_MS, () => {
        for (const id of looking) if (this.#unseen.has(id) && this.#deleting.has(id)) this.#unanswered(id);
      });
      const missed = await this.#options
        .look(left, (id) => {
          if (this.#unseen.delete(id)) this.#enqueue(id, 0, this.#troubles.has(id));
        })
        .finally(cancel);
      // Another look may have seen it meanwhile, or it was released.
      for (const id of missed) if (this.#unseen.has(id)) this.#notSeen(id);
      if (missed.size > 0) await this.#sleep(AGAIN_MS.dependency);
      left = [...missed].filter((id) => this.#unseen.has(id));
    }
  }

  /** Whoever deletes something and waits for it wants to know for whom. */
  #unanswered(id: string): void {
    const { world } = this.#options;
    const servers = world.tracker.shelvesOf(id).flatMap((shelf) => connectionBehind(world, shelf)?.address ?? []);
    this.#told(id, {
      ready: 'Unknown',
      reason: 'Waiting',
      message: `what is to be deleted is read first, and that takes long: waiting for ${[...new Set(servers)].join(', ')}`,
      outlook: 'going',
      live: undefined,
      changes: [],
      isGone: false,
      isCurrent: true,
    });
  }

  /** Nothing can be said of it, nor done for it, but why. */
  #notSeen(id: string): void {
    const { world } = this.#options;
    const failures = world.tracker
      .shelvesOf(id)
      .flatMap(({ connection, type }) => world.view.failure(connection, type) ?? []);
    const cause: Unreadable = failures[0] ?? { reason: 'Unavailable', error: 'its live objects could not be read' };
    if (this.#isReleased(id)) this.#release(id);
    else
      this.#told(id, {
        ready: 'Unknown',
        reason: cause.reason,
        message: cause.error,
        outlook: 'going',
        live: undefined,
        changes: [],
        isGone: false,
        isCurrent: true,
      });
  }

  /** What nobody waits for must not fail unheard. */
  #background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#options.observer.warned(`unexpected: ${messageOf(error)}`);
    });
  }

  async #sleep(ms: number): Promise<void> {
    await this.#options.clock.sleep(ms, this.#ended.signal).catch(() => undefined);
  }

  #enqueue(id: string, delay = 0, isRetry = false): void {
    if (this.#queue.add(id, delay)) this.#options.observer.queued(kindIn(id), isRetry);
  }

  /** What the inventory holds and nothing declares any more. */
  #undeclared(): string[] {
    const { world } = this.#options;
    const ids = new Set<string>();
    for (const owned of world.ledger.all()) {
      const id = resourceText(owned.resource);
      if (!world.resources.has(id) && world.inScope(owned.source)) ids.add(id);
    }
    return [...ids];
  }

  /**
   * An empty checkout must not empty a cluster: too much at once waits until a person allows it, or it is declared again.
   * @returns how many objects are held back.
   */
  #hold(gone: readonly string[]): number {
    const { world, allowMassDelete } = this.#options;
    const objects = gone.flatMap((id) => world.ledger.ownedBy(id)).filter((o) => o.deletionPolicy === 'Delete');
    const isHeld = !allowMassDelete && isTooMuch(objects.length, world.ledger.size);
    this.#held = new Set(isHeld ? gone : []);
    return isHeld ? objects.length : 0;
  }

  #changed({ connection, type, name, before, after }: ViewChange): void {
    const { world, clock } = this.#options;
    const lookups = new Set([objectLookup(connection, type.name, name)]);
    if ((before === undefined) !== (after === undefined)) lookups.add(existenceLookup(connection, type.name, name));
    for (const entry of [before, after]) {
      const index = filedUnder(type, entry);
      if (index !== undefined) lookups.add(indexLookup(connection, type.name, index));
    }
    for (const id of new Set([...lookups].flatMap((lookup) => world.tracker.readersOf(lookup)))) {
      if (!this.#seen.has(id)) this.#seen.set(id, clock.monotonic());
      this.#enqueue(id);
    }
  }

  #begin(due: ReadonlyMap<string, number>): void {
    const ids = [...due.keys()];
    if (ids.length === 0) return;
    const began = this.#options.clock.monotonic();
    for (const [id, since] of due) this.#options.observer.started(kindIn(id), (began - since) / 1000);
    const pass = this.#pass(ids, began)
      .catch((error: unknown) => {
        this.#failed(ids, began, error);
      })
      .finally(() => this.#passes.delete(pass));
    this.#passes.add(pass);
  }

  /** A pass that could not even be made: the inventory could not be saved, or a mistake of ours. */
  #failed(ids: readonly string[], began: number, error: unknown): void {
    this.#notSaved(error);
    const seconds = (this.#options.clock.monotonic() - began) / 1000;
    this.#options.observer.warned(`a pass over ${String(ids.length)} resources failed: ${messageOf(error)}`);
    for (const id of ids) {
      this.#options.observer.finished(kindIn(id), seconds, 'error');
      this.#queue.done(id);
      this.#retry(id, AGAIN_MS.dependency);
    }
  }

  /** An inventory that somebody else writes too, or that can't be written at all, ends everything. */
  #notSaved(error: unknown): void {
    if (!(error instanceof UsageError)) return;
    this.#failure ??= error;
    this.#ended.abort();
  }

  async #pass(ids: readonly string[], began: number): Promise<void> {
    const { world, clock, observer } = this.#options;
    const planned = new Set(ids.filter((id) => !this.#held.has(id) && !this.#unseen.has(id)));
    this.#handOver(planned);
    const steps = this.#guarded(composeFor(world, planned, (key) => this.#stateOf(key)));
    this.#note([...planned], steps);
    const declared = new Map([...planned].map((id) => [id, this.#known(id)]));
    const drifts = this.#drifts(steps);
    const running = new Running(ids, steps, (id, results) => {
      const seconds = (clock.monotonic() - began) / 1000;
      const isCurrent = declared.get(id) === this.#known(id);
      if (planned.has(id)) this.#settled(id, { results, isDrift: (step) => drifts.has(step), isCurrent, seconds });
      else this.#passedOver(id, seconds);
    });
    const written = this.#options.writing(steps);
    await execute(steps, {
      world,
      drain: this.#drain.signal,
      attempts: 1,
      savesLater: true,
      onResult: (step, outcome) => {
        const seconds = (clock.monotonic() - began) / 1000;
        if (outcome.status !== 'unchanged' && step.step.reason !== 'Waiting')
          observer.stepped(step.step, outcome, seconds);
        const seen = drifts.get(step);
        if (seen !== undefined && outcome.status === 'done')
          observer.driftCorrected(step.step, (clock.monotonic() - seen) / 1000);
        if (outcome.status === 'done') this.#wake(step);
        running.settle(step, outcome);
      },
    }).finally(written);
  }

  /** What others stand for as well becomes theirs, instead of being deleted and made again. */
  #handOver(ids: ReadonlySet<string>): void {
    const { world } = this.#options;
    for (const id of ids) {
      if (world.resources.has(id)) continue;
      for (const owned of [...world.ledger.ownedBy(id)]) {
        const deleting = this.#deleting.get(id)?.spec as { suspend?: boolean; deletionPolicy?: string } | undefined;
        const isKept = deleting?.suspend ?? owned.suspended;
        const heir =
          isKept || (deleting?.deletionPolicy ?? owned.deletionPolicy) === 'Orphan'
            ? undefined
            : heirOf(world, id, owned.key);
        if (heir === undefined) continue;
        world.ledger.record({ ...owned, resource: idOf(heir), source: heir.source });
        this.#enqueue(resourceText(idOf(heir)));
      }
    }
  }

  /** Whoever stands for something that this resource stands for no more may have it now. */
  #tellRivals(id: string, results: readonly StepResult[]): void {
    const { world } = this.#options;
    const dropped = results
      .filter(([{ desired }]) => desired === undefined)
      .flatMap(([{ key }]) => othersAt(world, id, key));
    for (const other of new Set(dropped)) if (world.resources.has(other)) this.#enqueue(other);
  }

  /** Whoever waited for an object goes on now that it stands. */
  #wake({ key }: PlannedStep): void {
    for (const id of this.#options.world.tracker.readersOf(existenceLookup(key.connection, key.type, key.name)))
      if (this.#waiting.has(id)) this.#enqueue(id);
  }

  /** Steps that put back what somebody else changed, with when that was seen. */
  #drifts(steps: readonly PlannedStep[]): Map<PlannedStep, number> {
    const drifts = new Map<PlannedStep, number>();
    for (const planned of steps) {
      const { reason } = planned.step;
      const seen = this.#seen.get(resourceText(planned.step));
      if (
        seen === undefined ||
        this.#edited.has(resourceText(planned.step)) ||
        !isWrite(planned) ||
        planned.owned?.state !== 'owned'
      )
        continue;
      if (reason !== 'Changed' && reason !== 'Missing') continue;
      drifts.set(planned, seen);
      this.#contests.corrected(planned.step.object);
      this.#options.observer.driftFound(planned.step);
    }
    for (const planned of steps) {
      this.#seen.delete(resourceText(planned.step));
      this.#edited.delete(resourceText(planned.step));
    }
    return drifts;
  }

  /** What is deleted too much at once, and what others keep changing back, is refused for now. */
  #guarded(steps: readonly PlannedStep[]): PlannedStep[] {
    const { world, allowMassDelete } = this.#options;
    const isUnasked = (planned: PlannedStep): boolean =>
      takesAway(planned) && !world.deleting.has(resourceText(planned.step));
    const isHeld = !allowMassDelete && isTooMuch(steps.filter(isUnasked).length, world.ledger.size);
    return steps.map((planned) => {
      const { action, object } = planned.step;
      if (isHeld && isUnasked(planned)) return refuse(planned, 'Held', HELD);
      const canBeContested = action === 'update' || action === 'create';
      return canBeContested && this.#contests.isContested(object) ? refuse(planned, 'Contested', CONTESTED) : planned;
    });
  }

  /** Remembers which objects are declared by whom, and which of them must not be written. */
  #note(ids: readonly string[], steps: readonly PlannedStep[]): void {
    const declared = new Map<string, string[]>(ids.map((id) => [id, []]));
    for (const { key, step, desired } of steps) {
      const text = keyText(key);
      if (desired !== undefined) declared.get(resourceText(step))?.push(text);
      if (step.action === 'refuse') this.#refused.add(text);
      else this.#refused.delete(text);
    }
    for (const [id, objects] of declared) {
      for (const object of this.#declared.get(id) ?? []) this.#declarers.delete(object);
      for (const object of objects) this.#declarers.set(object, id);
      if (objects.length > 0) this.#declared.set(id, objects);
      else this.#declared.delete(id);
    }
  }

  /** Of an object that another resource may declare. One that nobody declares is not ours to wait for. */
  #stateOf(key: ObjectKey): DependencyState {
    const text = keyText(key);
    if (this.#refused.has(text)) return 'refused';
    const isMade = this.#options.world.view.get(key.connection, key.type, key.name) !== undefined;
    return isMade || !this.#declarers.has(text) ? 'stands' : 'missing';
  }

  /** It is not known what its live objects are, or it must wait: nothing was done. */
  #passedOver(id: string, seconds: number): void {
    this.#options.observer.finished(kindIn(id), seconds, 'success');
    this.#queue.done(id);
  }

  /** All steps of a resource are through. */
  #settled(id: string, settled: Settled): void {
    const { results, seconds } = settled;
    const { world, observer } = this.#options;
    const isDeclared = world.resources.has(id);
    const verdict = verdictOf(results);
    this.#tellRivals(id, results);
    if (isDeclared) this.#readiness.set(id, verdict.ready);
    else if (world.ledger.ownedBy(id).length === 0) world.tracker.forget(id);
    observer.finished(kindIn(id), seconds, verdict.again === undefined ? 'success' : 'error');
    // Whatever else may call for a pass: it is not known what became of the last one.
    if (verdict.again === 'failed') this.#unseen.add(id);
    this.#queue.done(id);
    if (verdict.again === 'dependency') this.#waiting.add(id);
    else this.#waiting.delete(id);
    if (verdict.again === undefined) this.#troubles.delete(id);
    else if (verdict.again === 'failed') this.#background(this.#lookAndRetry(id));
    else if (verdict.again !== 'changed')
      this.#retry(id, AGAIN_MS[verdict.again] * (0.8 + this.#options.random() * 0.4));
    const dueAt = Math.min(...results.map(([{ desired }]) => desired?.dueAt ?? Infinity));
    if (dueAt !== Infinity) this.#enqueue(id, Math.max(0, dueAt - world.now()) + 1);
    // What was adopted may now be replaced.
    if (results.some(([{ step }, { status }]) => step.reason === 'Adopted' && status === 'unchanged'))
      this.#enqueue(id);
    if (this.#options.report !== undefined) this.#report(id, settled);
  }

  /** As it is declared, or being deleted. */
  #known(id: string): Resource | undefined {
    return this.#resources.get(id) ?? this.#deleting.get(id);
  }

  #report(id: string, { results, isDrift, isCurrent }: Settled): void {
    const { world } = this.#options;
    const resource = this.#known(id);
    if (resource === undefined || this.#held.has(id)) return;
    const verdict = verdictOf(results);
    const isUndeclared = this.#deleting.has(id);
    if (isUndeclared && verdict.again !== undefined && this.#isReleased(id)) {
      this.#release(id);
      return;
    }
    const isGone = isUndeclared && verdict.again === undefined && world.ledger.ownedBy(id).length === 0;
    const live = isUndeclared ? undefined : this.#liveOf(id, resource, results);
    const report = reportOf({ resource: idOf(resource), verdict, results, isDrift, live, isGone, isCurrent });
    // A deletion that the inventory does not know of yet could be done over again, and then to what was orphaned.
    if (isGone) this.#background(world.ledger.flush().then(() => this.#options.report?.(report)));
    else this.#options.report?.(report);
  }

  /** What identifies the live objects, as they stand after what was done. */
  #liveOf(id: string, resource: Resource, results: readonly StepResult[]): Readonly<Record<string, unknown>> {
    const { world } = this.#options;
    const isOld = results.some(([, { status }]) => status === 'done');
    const steps = isOld ? composeFor(world, new Set([id]), (key) => this.#stateOf(key)) : results.map(([step]) => step);
    return kindOf(world, resource).status?.(resource, steps, contextOf(world)) ?? {};
  }

  #told(id: string, report: Omit<ResourceReport, 'resource'>): void {
    const resource = this.#known(id);
    if (resource !== undefined) this.#options.report?.({ resource: idOf(resource), ...report });
  }

  /** Whether a person gave up on its live objects, because what they were made through is gone for good. */
  #isReleased(id: string): boolean {
    return this.#deleting.get(id)?.metadata.annotations[RELEASE] === 'true';
  }

  /** Forgets what is owned, and says what may remain. */
  #release(id: string): void {
    const { ledger } = this.#options.world;
    const objects = ledger.ownedBy(id).map(({ key }) => keyText(key));
    for (const { key } of [...ledger.ownedBy(id)]) ledger.forget(key);
    this.#unseen.delete(id);
    const message =
      objects.length === 0 ? 'nothing of it was recorded' : `not deleted, and may remain: ${objects.join(', ')}`;
    const told = {
      ready: 'Unknown',
      reason: 'Released',
      message,
      outlook: 'settled',
      live: undefined,
      changes: [],
      isGone: true,
      isCurrent: true,
    } as const;
    this.#background(
      ledger.flush().then(() => {
        this.#told(id, told);
      }),
    );
  }

  /** It is not known what became of the last try: look before the next one, which comes the later the more have failed. */
  async #lookAndRetry(id: string): Promise<void> {
    const { random } = this.#options;
    const failures = this.#troubles.get(id) ?? 0;
    this.#troubles.set(id, failures + 1);
    const delay = Math.min(AGAIN_MS.most, AGAIN_MS.least * 2 ** failures) * (0.5 + random() / 2);
    await this.#sleep(delay);
    await this.#see([id]);
  }

  #retry(id: string, delay: number): void {
    this.#enqueue(id, delay, true);
  }
}

/** Annotation of a resource that is being deleted: `true` gives up on what can't be deleted. */
export const RELEASE = 'nomad-access.io/release';
const HELD =
  'it would be one of too many deletions at once: bring the manifests back, or start again with --allow-mass-delete';
const CONTESTED =
  'something else keeps changing it: it was corrected five times within a minute, and is left for a minute';

function refuse(planned: PlannedStep, reason: 'Held' | 'Contested', message: string): PlannedStep {
  return { ...planned, step: { ...planned.step, action: 'refuse', reason, message } };
}

/** Sources keep what did not change as it is; where they could not, the content decides. */
function isSame(a: Resource | undefined, b: Resource): boolean {
  if (a === b) return true;
  if (a === undefined || a.source !== b.source || a.folder !== b.folder) return false;
  const content = ({ spec, metadata }: Resource): string => textOf({ spec, metadata });
  return content(a) === content(b);
}

function textOf(content: unknown): string {
  return canonical(JSON.parse(JSON.stringify(content)) as never);
}

/** Annotations ask for something, but change nothing that is declared. */
function isSameSpec(a: Resource | undefined, b: Resource | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return textOf(a.spec) === textOf(b.spec);
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else
      signal.addEventListener(
        'abort',
        () => {
          done();
        },
        { once: true },
      );
  });
}

/** Which resources of a pass are through. */
class Running {
  readonly #left = new Map<string, number>();
  readonly #results = new Map<string, [PlannedStep, StepOutcome][]>();
  readonly #onSettled: (id: string, results: readonly StepResult[]) => void;

  constructor(
    ids: readonly string[],
    steps: readonly PlannedStep[],
    onSettled: (id: string, results: readonly StepResult[]) => void,
  ) {
    this.#onSettled = onSettled;
    for (const { step } of steps) this.#left.set(resourceText(step), (this.#left.get(resourceText(step)) ?? 0) + 1);
    for (const id of ids) if (!this.#left.has(id)) onSettled(id, []);
  }

  settle(planned: PlannedStep, outcome: StepOutcome): void {
    const id = resourceText(planned.step);
    const results = this.#results.get(id) ?? [];
    this.#results.set(id, results);
    results.push([planned, outcome]);
    const left = (this.#left.get(id) ?? 0) - 1;
    this.#left.set(id, left);
    if (left === 0) this.#onSettled(id, results);
  }
}
