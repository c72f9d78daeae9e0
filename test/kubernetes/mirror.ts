import type { CollectionHandler, KubernetesObject } from '../../src/contract/kubernetes.ts';

/** What a follower was told, and the set that follows from it. */
export class Mirror implements CollectionHandler<KubernetesObject> {
  /** `replaced a b`, `changed a`, `removed a` */
  readonly told: string[] = [];
  readonly troubles: (string | undefined)[] = [];
  /** Changes that went back behind what was told of the same object. */
  readonly disorder: string[] = [];
  replacements = 0;
  /** Whether it throws when it is told the next change, once. */
  failNext = false;
  readonly #objects = new Map<string, KubernetesObject>();

  get(name: string): KubernetesObject | undefined {
    return this.#objects.get(name);
  }

  /** `NAME@VERSION`, sorted. */
  versions(): string[] {
    return [...this.#objects].map(([name, { metadata }]) => `${name}@${String(metadata.resourceVersion)}`).sort();
  }

  replaced(objects: readonly KubernetesObject[]): void {
    this.replacements++;
    this.told.push(`replaced ${objects.map(({ metadata }) => metadata.name).join(' ')}`);
    for (const object of objects) this.#checkOrder(object);
    this.#objects.clear();
    for (const object of objects) this.#objects.set(object.metadata.name, object);
  }

  changed(object: KubernetesObject): void {
    if (this.failNext) {
      this.failNext = false;
      throw new Error('a mistake of the handler');
    }
    this.told.push(`changed ${object.metadata.name}`);
    this.#checkOrder(object);
    this.#objects.set(object.metadata.name, object);
  }

  removed(object: KubernetesObject): void {
    this.told.push(`removed ${object.metadata.name}`);
    this.#checkOrder(object);
    this.#objects.delete(object.metadata.name);
  }

  trouble(why: string | undefined): void {
    this.troubles.push(why);
  }

  #checkOrder({ metadata }: KubernetesObject): void {
    const known = this.#objects.get(metadata.name)?.metadata.resourceVersion;
    if (Number(known ?? 0) > Number(metadata.resourceVersion)) this.disorder.push(metadata.name);
  }
}
