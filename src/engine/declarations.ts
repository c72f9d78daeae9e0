import { idOf, type Resource } from '../contract/resource.ts';
import type { Desire, DesireChange } from '../contract/source.ts';
import { resourceText } from '../plan/step.ts';
import { canonical } from '../plan/value.ts';
import { isTooMuch } from './mass-deletion.ts';
import { byId, type World } from './world.ts';

/** What a new declaration makes different. */
export interface Difference {
  /** New, or not declared as before. */
  readonly changed: readonly string[];
  /** Of these, those whose spec is another one. */
  readonly edited: readonly string[];
  /** The same in other words: nothing is to be done but to say so. */
  readonly reworded: readonly string[];
  /** Declared no more. */
  readonly undeclared: readonly string[];
  /** Objects whose deletion is held back; 0 for none. */
  readonly heldObjects: number;
}

/** What is declared, what is being deleted, and which deletions wait for a person. */
export class Declarations {
  readonly #world: World;
  readonly #allowMassDelete: boolean;
  /** What the world calls `resources` and `deleting`. */
  #resources = new Map<string, Resource>();
  #deleting = new Map<string, Resource>();
  #held = new Set<string>();

  constructor(world: World, allowMassDelete: boolean) {
    this.#world = world;
    this.#allowMassDelete = allowMassDelete;
  }

  /** As it is declared, or being deleted. */
  get(id: string): Resource | undefined {
    return this.#resources.get(id) ?? this.#deleting.get(id);
  }

  deleting(id: string): Resource | undefined {
    return this.#deleting.get(id);
  }

  /** Whether it is declared no more, and its deletion waits for a person. */
  isHeld(id: string): boolean {
    return this.#held.has(id);
  }

  /** A declaration of everything, in the place of the one before. */
  replace(desire: Desire): Difference {
    const before = this.#resources;
    this.#resources = byId(desire.resources);
    this.#deleting = byId(desire.deleting ?? []);
    this.#world.resources = this.#resources;
    this.#world.deleting = this.#deleting;
    const gone = [...before.keys()].filter((id) => !this.#resources.has(id));
    const recorded = new Set(this.#world.ledger.all().map((owned) => resourceText(owned.resource)));
    const vanished = [...recorded].filter((id) => this.#isVanished(id));
    const heldObjects = this.#hold(vanished);
    const undeclared = [...new Set([...gone, ...vanished, ...this.#deleting.keys()])];
    return { ...differences(before, [...this.#resources]), undeclared, heldObjects };
  }

  /** What became of some resources. */
  change({ changed, deleting, gone }: DesireChange): Difference {
    const now = [...byId(changed)];
    const before = new Map(now.map(([id]) => [id, this.#resources.get(id)]));
    for (const [id, resource] of now) {
      this.#resources.set(id, resource);
      this.#deleting.delete(id);
    }
    // What was asked to be deleted goes, even where its finalizer was taken off.
    const unasked = gone.filter((id) => !this.#deleting.has(id));
    const undeclared = [...deleting.map((resource) => resourceText(idOf(resource))), ...gone];
    for (const id of undeclared) this.#resources.delete(id);
    for (const id of gone) this.#deleting.delete(id);
    for (const [id, resource] of byId(deleting)) this.#deleting.set(id, resource);
    const heldObjects = this.#hold([...new Set([...this.#held, ...unasked])].filter((id) => this.#isVanished(id)));
    return { ...differences(before, now), undeclared, heldObjects };
  }

  /** Something of it is recorded that is deleted now, though nobody asked for that one by one. */
  #isVanished(id: string): boolean {
    if (this.get(id) !== undefined) return false;
    return this.#world.ledger.ownedBy(id).some(({ source }) => this.#world.inScope(source));
  }

  /**
   * An empty checkout must not empty a cluster: too much at once waits until a person allows it, or it is declared again.
   * @returns how many objects are held back.
   */
  #hold(vanished: readonly string[]): number {
    const { ledger } = this.#world;
    const objects = vanished.flatMap((id) => ledger.ownedBy(id)).filter((o) => o.deletionPolicy === 'Delete');
    const isHeld = !this.#allowMassDelete && isTooMuch(objects.length, ledger.size);
    this.#held = new Set(isHeld ? vanished : []);
    return isHeld ? objects.length : 0;
  }
}

/** Sources keep what did not change as it is; where they could not, the content decides. */
function differences(
  before: ReadonlyMap<string, Resource | undefined>,
  now: readonly (readonly [string, Resource])[],
): Pick<Difference, 'changed' | 'edited' | 'reworded'> {
  const [changed, edited, reworded]: [string[], string[], string[]] = [[], [], []];
  for (const [id, resource] of now) {
    const known = before.get(id);
    if (known === resource) continue;
    const isSameSpec = known !== undefined && textOf(known.spec) === textOf(resource.spec);
    if (isSameSpec && isSamePlace(known, resource) && textOf(known.metadata) === textOf(resource.metadata))
      reworded.push(id);
    else changed.push(id);
    // Annotations ask for something, but change nothing that is declared.
    if (!isSameSpec) edited.push(id);
  }
  return { changed, edited, reworded };
}

function isSamePlace(a: Resource, b: Resource): boolean {
  return a.source === b.source && a.folder === b.folder;
}

function textOf(content: unknown): string {
  return canonical(JSON.parse(JSON.stringify(content)) as never);
}
