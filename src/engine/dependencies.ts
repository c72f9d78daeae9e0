import type { DependencyState } from '../plan/plan.ts';
import { keyText, resourceText, type ObjectKey, type PlannedStep } from '../plan/step.ts';
import type { LiveView } from './view.ts';

/** Which resources declare which live objects, and which of these they must not write: what others depend on. */
export class Dependencies {
  readonly #view: LiveView;
  /** By resource. */
  readonly #declared = new Map<string, readonly string[]>();
  /** By object: most have but one. */
  readonly #declarers = new Map<string, readonly string[]>();
  /** By resource, the objects whose steps were refused. */
  readonly #refused = new Map<string, ReadonlySet<string>>();

  constructor(view: LiveView) {
    this.#view = view;
  }

  /** What a plan of these resources says, in place of what the one before said. */
  note(ids: Iterable<string>, steps: readonly PlannedStep[]): void {
    const declared = new Map<string, string[]>();
    const refused = new Map<string, Set<string>>();
    for (const id of ids) {
      this.#forget(id);
      declared.set(id, []);
    }
    for (const { key, step, desired } of steps) {
      if (desired === undefined) continue;
      const id = resourceText(step);
      declared.get(id)?.push(keyText(key));
      if (step.action === 'refuse') refused.set(id, (refused.get(id) ?? new Set()).add(keyText(key)));
    }
    for (const [id, objects] of declared) {
      if (objects.length > 0) this.#declared.set(id, objects);
      for (const object of objects) this.#declarers.set(object, [...(this.#declarers.get(object) ?? []), id]);
    }
    for (const [id, objects] of refused) this.#refused.set(id, objects);
  }

  /**
   * Of an object that another resource may declare. One that nobody declares is not ours to wait for; of one that several
   * declare, one has it, and the others are refused.
   */
  readonly stateOf = (key: ObjectKey): DependencyState => {
    const object = keyText(key);
    const declarers = this.#declarers.get(object);
    if (declarers === undefined) return 'stands';
    if (declarers.every((id) => this.#refused.get(id)?.has(object) === true)) return 'refused';
    return this.#isThere(key) ? 'stands' : 'missing';
  };

  /**
   * Whether a step of a resource was refused for something that another one has made since.
   * @param own the steps of that resource: what waits for one of them is not looked at.
   */
  isFree({ step, desired, dependsOn }: PlannedStep, own: readonly PlannedStep[]): boolean {
    if (desired === undefined || desired.verdict !== undefined) return false;
    if (step.reason !== 'Blocked' && step.reason !== 'Waiting') return false;
    const made = new Set(own.map(({ key }) => keyText(key)));
    return (
      dependsOn.every((key) => !made.has(keyText(key)) && this.stateOf(key) === 'stands') &&
      (desired.lacking ?? []).every((key) => this.#isThere(key))
    );
  }

  #isThere({ connection, type, name }: ObjectKey): boolean {
    return this.#view.get(connection, type, name) !== undefined || this.#view.by(connection, type, name).length > 0;
  }

  #forget(id: string): void {
    for (const object of this.#declared.get(id) ?? []) {
      const others = (this.#declarers.get(object) ?? []).filter((other) => other !== id);
      if (others.length > 0) this.#declarers.set(object, others);
      else this.#declarers.delete(object);
    }
    this.#declared.delete(id);
    this.#refused.delete(id);
  }
}
