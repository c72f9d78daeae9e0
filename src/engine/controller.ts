import { setMaxListeners } from 'node:events';
import { untilAborted, type Clock } from '../contract/clock.ts';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { Observer } from '../contract/observer.ts';
import type { Reporter } from '../contract/report.ts';
import { idOf, type Resource } from '../contract/resource.ts';
import type { Desire, DesireChange } from '../contract/source.ts';
import { kindIn, resourceText, type PlannedStep } from '../plan/step.ts';
import { heirOf, othersAt } from './claims.ts';
import { composeFor, policyOf } from './compose.ts';
import { Contests } from './contests.ts';
import { Declarations, type Difference } from './declarations.ts';
import { Dependencies } from './dependencies.ts';
import { Drift } from './drift.ts';
import { execute } from './execute.ts';
import { Looking, SLOW_MS, type LookingOptions } from './looking.ts';
import { isTooMuch, takesAway } from './mass-deletion.ts';
import { Queue } from './queue.ts';
import { Readiness, verdictOf, type StepResult, type Verdict } from './readiness.ts';
import { Reports } from './reports.ts';
import { Running } from './running.ts';
import { existenceLookup, indexLookup, objectLookup, resourceLookup } from './tracker.ts';
import { filedUnder, type ViewChange } from './view.ts';
import type { World } from './world.ts';

export interface ControllerOptions {
  readonly world: World;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** Lets more be deleted at once than the guard of mass deletions does. */
  readonly allowMassDelete: boolean;
  /** So that what is there already is not taken for absent. */
  readonly look: LookingOptions['look'];
  /** Told of what is about to be written. @returns what is called when that is done. */
  readonly writing: (steps: readonly PlannedStep[]) => () => void;
  /** Told how each resource came out of each pass. */
  readonly report?: Reporter | undefined;
}

/** What came of a pass over one resource. */
interface Settled {
  /** As it was declared, or being deleted, when the pass began. */
  readonly declared: Resource | undefined;
  readonly results: readonly StepResult[];
  readonly isDrift: (planned: PlannedStep) => boolean;
  readonly seconds: number;
}

/** Delays before a resource is tried again; milliseconds. */
const AGAIN_MS = { dependency: 5_000, denied: 30_000, least: 250, most: 60_000 };
/** The wall clock may be set, and the machine sleep, while a deadline is waited for: it is looked at that often. */
const DEADLINE_MS = 3_600_000;
/** How long writes that are under way are waited for at the end; milliseconds. */
const DRAIN_MS = 15_000;

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
  readonly #looking: Looking;
  readonly #declarations: Declarations;
  readonly #dependencies: Dependencies;
  readonly #readiness: Readiness;
  readonly #contests: Contests;
  readonly #drift = new Drift();
  readonly #reports: Reports | undefined;
  readonly #passes = new Set<Promise<void>>();
  readonly #drain = new AbortController();
  readonly #ended = new AbortController();
  /** How often in a row a resource failed without its being known what became of it. */
  readonly #troubles = new Map<string, number>();
  /** Resources that wait for something that is not there yet. */
  readonly #waiting = new Set<string>();
  #failure: unknown;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { world, clock, observer, allowMassDelete, look, report } = options;
    // Every delay listens to it.
    setMaxListeners(0, this.#ended.signal, this.#drain.signal);
    this.#queue = new Queue(clock, () => {
      this.#begin(this.#queue.take());
    });
    this.#looking = new Looking({
      clock,
      look,
      onSeen: (id) => {
        this.#enqueue(id, 0, this.#troubles.has(id));
      },
      onMissed: (id) => {
        this.#missed(id);
      },
      onSlow: (ids) => {
        this.#slow(ids);
      },
      onMistake: (message) => {
        observer.warned(`unexpected: ${message}`);
      },
    });
    this.#declarations = new Declarations(world, allowMassDelete);
    this.#dependencies = new Dependencies(world.view);
    this.#reports = report && new Reports(world, report, this.#dependencies.stateOf);
    this.#readiness = new Readiness((kind, counts) => {
      observer.resources(kind, counts);
    });
    this.#contests = new Contests(clock);
    world.view.onChange = (change) => {
      this.#changed(change);
    };
    world.view.onIdentified = (key, id) => {
      const owned = world.ledger.get(key);
      if (owned?.state === 'owned' && owned.id === undefined) world.ledger.record({ ...owned, id });
    };
    world.ledger.onFailure = (error) => {
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
    this.#looking.close();
    this.#drain.abort();
    await this.#drained();
    if (this.#failure !== undefined) throw this.#failure as Error;
    await world.ledger.flush();
  }

  /** What a server does not answer is not waited for for ever: what was about to be made is in the inventory. */
  async #drained(): Promise<void> {
    const { clock, observer } = this.#options;
    const through = new AbortController();
    const late = clock.sleep(DRAIN_MS, through.signal).then(
      () => true,
      () => false,
    );
    const all = async (): Promise<boolean> => {
      while (this.#passes.size > 0) await Promise.all(this.#passes);
      return false;
    };
    if (await Promise.race([all(), late])) observer.warned('what is still under way is not waited for any longer');
    through.abort();
  }

  /** Takes a new declaration in the place of the one before. What is new is looked at before anything is done to it. */
  update(desire: Desire): void {
    const difference = this.#declarations.replace(desire);
    this.#options.observer.desired(this.#options.world.resources.size, desire.errors, difference.heldObjects);
    this.#take(difference);
  }

  /** Takes in what became of some resources. */
  change(change: DesireChange): void {
    const difference = this.#declarations.change(change);
    this.#options.observer.desired(this.#options.world.resources.size, [], difference.heldObjects);
    this.#take(difference);
  }

  /** Looks at resources again, and at what they stand for. @param ids those that are neither declared nor owned count for nothing. */
  reconcile(ids: Iterable<string>): void {
    const { ledger } = this.#options.world;
    for (const id of ids)
      if (this.#declarations.get(id) !== undefined || ledger.ownedBy(id).length > 0) this.#looking.add(id);
  }

  #take({ changed, edited, reworded, undeclared }: Difference): void {
    const { world } = this.#options;
    for (const id of undeclared) if (!world.resources.has(id)) this.#readiness.forget(id);
    for (const id of changed) this.#readiness.set(id, 'Unknown');
    for (const id of edited) this.#drift.wasEdited(id);
    const named = [...changed, ...undeclared];
    const namers = named.flatMap((id) => world.tracker.readersOf(resourceLookup(id)));
    const touched = new Set([...named, ...namers]);
    const rivals = new Set(undeclared.flatMap((id) => world.tracker.neighboursOf(id)));
    for (const id of touched) this.#looking.add(id);
    // Recorded beforehand, so that what is told of their live objects meanwhile is not missed.
    const steps = composeFor(world, touched, this.#dependencies.stateOf);
    // Whoever depends on what is new waits for it from now on.
    this.#dependencies.note(changed, steps);
    for (const id of [...rivals, ...reworded]) if (world.resources.has(id)) this.#enqueue(id);
  }

  /** It could not be read. */
  #missed(id: string): void {
    const declared = this.#declarations.get(id);
    if (declared === undefined) return;
    if (this.#isReleased(id)) this.#release(id, declared);
    else this.#reports?.unread(id, declared);
  }

  /** A server does not answer: whoever waits for a deletion is told. */
  #slow(ids: readonly string[]): void {
    for (const id of ids) {
      const declared = this.#declarations.deleting(id);
      if (declared !== undefined) this.#reports?.slow(id, declared);
    }
  }

  #enqueue(id: string, delay = 0, isRetry = false): void {
    if (this.#queue.add(id, delay)) this.#options.observer.queued(kindIn(id), isRetry);
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
      this.#drift.sawChange(id, clock.monotonic());
      this.#enqueue(id);
    }
  }

  #begin(due: ReadonlyMap<string, number>): void {
    if (due.size === 0) return;
    const began = this.#options.clock.monotonic();
    for (const [id, since] of due) this.#options.observer.started(kindIn(id), (began - since) / 1000);
    const left = new Set(due.keys());
    const cancel = this.#options.clock.after(SLOW_MS, () => {
      this.#slow([...left]);
    });
    const pass = this.#pass(left, began)
      .catch((error: unknown) => {
        this.#failed(left, began, error);
      })
      .finally(() => {
        cancel();
        this.#passes.delete(pass);
      });
    this.#passes.add(pass);
  }

  /** A pass that could not even be made: the inventory could not be saved, or a mistake of ours. @param left not through. */
  #failed(left: ReadonlySet<string>, began: number, error: unknown): void {
    this.#notSaved(error);
    this.#options.observer.warned(`a pass over ${String(left.size)} resources failed: ${messageOf(error)}`);
    for (const id of left) {
      this.#through(id, began, 'error');
      // Not all at the same moment: if one of them is the cause, it must not keep the others from theirs for ever.
      this.#retry(id, this.#jittered(AGAIN_MS.dependency));
    }
  }

  /** An inventory that somebody else writes too, or that can't be written at all, ends everything. */
  #notSaved(error: unknown): void {
    if (!(error instanceof UsageError)) return;
    this.#failure ??= error;
    this.#ended.abort();
  }

  /** @param left the resources of the pass; each is taken out when it is through. */
  async #pass(left: Set<string>, began: number): Promise<void> {
    const { world, clock, observer, writing } = this.#options;
    const planned = new Set([...left].filter((id) => !this.#declarations.isHeld(id) && !this.#looking.isUnseen(id)));
    for (const id of [...left].filter((id) => !planned.has(id))) {
      left.delete(id);
      this.#through(id, began, 'success');
    }
    this.#handOver(planned);
    const declared = new Map([...planned].map((id) => [id, this.#declarations.get(id)]));
    const steps = this.#guarded(composeFor(world, planned, this.#dependencies.stateOf));
    this.#dependencies.note(planned, steps);
    const drifts = this.#drifts(planned, steps);
    const since = (moment: number): number => (clock.monotonic() - moment) / 1000;
    const running = new Running(planned, steps, (id, results) => {
      left.delete(id);
      const isDrift = (step: PlannedStep): boolean => drifts.has(step);
      this.#settled(id, { declared: declared.get(id), results, isDrift, seconds: since(began) });
    });
    const written = writing(steps);
    await execute(steps, {
      world,
      drain: this.#drain.signal,
      attempts: 1,
      savesLater: true,
      onResult: (step, outcome) => {
        if (outcome.status !== 'unchanged' && step.step.reason !== 'Waiting')
          observer.stepped(step.step, outcome, since(began));
        const seen = drifts.get(step);
        if (seen !== undefined && outcome.status === 'done') observer.driftCorrected(step.step, since(seen));
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
        const { suspended, deletionPolicy } = policyOf(owned, this.#declarations.deleting(id));
        const heir = suspended || deletionPolicy === 'Orphan' ? undefined : heirOf(world, id, owned.key);
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
  #drifts(ids: Iterable<string>, steps: readonly PlannedStep[]): Map<PlannedStep, number> {
    const drifts = this.#drift.take(ids, steps);
    for (const { step } of drifts.keys()) {
      this.#contests.corrected(step.object);
      this.#options.observer.driftFound(step);
    }
    return drifts;
  }

  /** What is deleted too much at once, and what others keep changing back, is refused for now. */
  #guarded(steps: readonly PlannedStep[]): PlannedStep[] {
    const { world, allowMassDelete } = this.#options;
    const isUnasked = (planned: PlannedStep): boolean =>
      takesAway(planned) && this.#declarations.deleting(resourceText(planned.step)) === undefined;
    const isHeld = !allowMassDelete && isTooMuch(steps.filter(isUnasked).length, world.ledger.size);
    return steps.map((planned) => {
      const { action, object } = planned.step;
      if (isHeld && isUnasked(planned)) return refuse(planned, 'Held', HELD);
      const canBeContested = action === 'update' || action === 'create';
      return canBeContested && this.#contests.isContested(object) ? refuse(planned, 'Contested', CONTESTED) : planned;
    });
  }

  /** A pass is through with it. */
  #through(id: string, began: number, result: 'success' | 'error'): void {
    const { clock, observer } = this.#options;
    observer.finished(kindIn(id), (clock.monotonic() - began) / 1000, result);
    this.#queue.done(id);
  }

  /** All steps of a resource are through. */
  #settled(id: string, settled: Settled): void {
    const { results, seconds } = settled;
    const { world, observer } = this.#options;
    const verdict = verdictOf(results);
    this.#tellRivals(id, results);
    if (world.resources.has(id)) this.#readiness.set(id, verdict.ready);
    else if (world.ledger.ownedBy(id).length === 0) world.tracker.forget(id);
    observer.finished(kindIn(id), seconds, verdict.again === undefined ? 'success' : 'error');
    // Whatever else may call for a pass: it is not known what became of the last one.
    if (verdict.again === 'failed') this.#lookAgain(id);
    else this.#troubles.delete(id);
    this.#queue.done(id);
    this.#plan(id, verdict, results);
    this.#report(id, settled, verdict);
  }

  /** It is not known what became of the last try: look before the next one, which comes the later the more have failed. */
  #lookAgain(id: string): void {
    const failures = this.#troubles.get(id) ?? 0;
    this.#troubles.set(id, failures + 1);
    const delay = Math.min(AGAIN_MS.most, AGAIN_MS.least * 2 ** failures);
    this.#looking.add(id, delay * (0.5 + this.#options.random() / 2));
  }

  /** When its next pass comes, if nothing else calls for one. */
  #plan(id: string, { again }: Verdict, results: readonly StepResult[]): void {
    if (again === 'dependency') this.#waiting.add(id);
    else this.#waiting.delete(id);
    if (again === 'dependency' || again === 'denied') this.#retry(id, this.#jittered(AGAIN_MS[again]));
    if (again === 'dependency' && this.#isFree(results)) this.#enqueue(id);
    const dueAt = Math.min(...results.map(([{ desired }]) => desired?.dueAt ?? Infinity));
    if (dueAt !== Infinity)
      this.#enqueue(id, Math.min(DEADLINE_MS, Math.max(0, dueAt - this.#options.world.now()) + 1));
    // What was adopted may now be replaced.
    if (results.some(([{ step }, { status }]) => step.reason === 'Adopted' && status === 'unchanged'))
      this.#enqueue(id);
  }

  /** What it waits for came while it was planned, when nobody woke it. */
  #isFree(results: readonly StepResult[]): boolean {
    const own = results.map(([planned]) => planned);
    return results.some(([planned, { status }]) => status === 'refused' && this.#dependencies.isFree(planned, own));
  }

  #report(id: string, { declared, results, isDrift }: Settled, verdict: Verdict): void {
    const { ledger } = this.#options.world;
    if (declared === undefined || this.#reports === undefined) return;
    const isDeleting = this.#declarations.deleting(id) === declared;
    if (isDeleting && verdict.again !== undefined && this.#isReleased(id)) {
      this.#release(id, declared);
      return;
    }
    const isGone = isDeleting && verdict.again === undefined && ledger.ownedBy(id).length === 0;
    const report = { declared, verdict, results, isDrift, isGone };
    if (isGone) this.#onceSaved(id, () => this.#reports?.passed(id, report));
    else this.#reports.passed(id, report);
  }

  /** A deletion that the inventory does not know of yet could be done over again, and then to what was orphaned. */
  #onceSaved(id: string, tell: () => void): void {
    const { world, observer } = this.#options;
    world.ledger.flush().then(tell, (error: unknown) => {
      observer.warned(`the inventory could not be saved: ${messageOf(error)}`);
      // An empty pass tells it again.
      this.#retry(id, this.#jittered(AGAIN_MS.dependency));
    });
  }

  /** Whether a person gave up on its live objects, because what they were made through is gone for good. */
  #isReleased(id: string): boolean {
    return this.#declarations.deleting(id)?.metadata.annotations[RELEASE] === 'true';
  }

  /** Forgets what is owned, and says what may remain. */
  #release(id: string, declared: Resource): void {
    const { ledger } = this.#options.world;
    const objects = ledger.ownedBy(id).map(({ key }) => key);
    for (const key of objects) ledger.forget(key);
    this.#looking.forget(id);
    this.#onceSaved(id, () => this.#reports?.released(declared, objects));
  }

  #retry(id: string, delay: number): void {
    this.#enqueue(id, delay, true);
  }

  #jittered(ms: number): number {
    return ms * (0.8 + this.#options.random() * 0.4);
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
