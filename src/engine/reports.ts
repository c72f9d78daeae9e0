import type { Reporter, ResourceReport } from '../contract/report.ts';
import type { Resource } from '../contract/resource.ts';
import { keyText, type ObjectKey } from '../plan/step.ts';
import { composeFor, type Dependencies } from './compose.ts';
import type { StepResult } from './readiness.ts';
import { reportOf, type Pass } from './report.ts';
import { connectionBehind, contextOf, kindOf, type World } from './world.ts';

type State = Pick<ResourceReport, 'ready' | 'reason' | 'message' | 'outlook'>;

/** Tells the source of resources how each of them is. */
export class Reports {
  readonly #world: World;
  readonly #tell: Reporter;
  readonly #dependencies: Dependencies;

  constructor(world: World, tell: Reporter, dependencies: Dependencies) {
    this.#world = world;
    this.#tell = tell;
    this.#dependencies = dependencies;
  }

  /** How it came out of a pass. */
  passed(id: string, pass: Omit<Pass, 'live'>): void {
    const isDeclared = this.#world.resources.has(id);
    this.#tell(reportOf({ ...pass, live: isDeclared ? this.#liveOf(id, pass) : undefined }));
  }

  /** Nothing can be said of its live objects, nor done for it, but why. */
  unread(id: string, declared: Resource): void {
    const { view, tracker } = this.#world;
    const shelves = tracker.shelvesOf(id);
    const [failure] = shelves.flatMap(({ connection, type }) => view.failure(connection, type) ?? []);
    const { reason, error } = failure ?? { reason: 'Unavailable', error: 'its live objects could not be read' };
    this.#state(declared, { ready: 'Unknown', reason, message: error, outlook: 'going' });
  }

  /** Whoever deletes something and waits for it wants to know for whom. */
  slow(id: string, declared: Resource): void {
    const shelves = this.#world.tracker.shelvesOf(id);
    const servers = new Set(shelves.flatMap((shelf) => connectionBehind(this.#world, shelf)?.address ?? []));
    const message = `its deletion takes long: waiting for an answer of ${[...servers].join(', ')}`;
    this.#state(declared, { ready: 'Unknown', reason: 'Waiting', message, outlook: 'going' });
  }

  /** It is given up. @param objects that may remain. */
  released(declared: Resource, objects: readonly ObjectKey[]): void {
    const remains = `not deleted, and may remain: ${objects.map(keyText).join(', ')}`;
    const message = objects.length === 0 ? 'nothing of it was recorded' : remains;
    this.#state(declared, { ready: 'Unknown', reason: 'Released', message, outlook: 'settled' }, true);
  }

  #state(declared: Resource, state: State, isGone = false): void {
    this.#tell({ declared, ...state, live: undefined, changes: [], isGone });
  }

  /** What identifies the live objects, as they stand after what was done. */
  #liveOf(id: string, { declared, results }: Omit<Pass, 'live'>): Readonly<Record<string, unknown>> {
    const world = this.#world;
    const isOld = results.some(([, { status }]: StepResult) => status === 'done');
    const steps = isOld ? composeFor(world, new Set([id]), this.#dependencies) : results.map(([step]) => step);
    return kindOf(world, declared).status?.(declared, steps, contextOf(world)) ?? {};
  }
}
