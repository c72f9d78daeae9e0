import type { Owned } from '../plan/step.ts';

/**
 * Which variable holds which object: a tree whose shards split by themselves.
 *
 * A shard is named by a prefix of bits; the first one is the empty prefix. An object belongs to the deepest shard that is a
 * prefix of its hash. A shard that has grown too large gets two children, one bit longer, and is removed only after both are
 * stored. So at any moment each object is found in exactly one place, and a half-done split hides nothing: where only one
 * child is stored, the parent still counts for the other half, and for that half alone.
 */

/** Bits of a hash, and so the deepest shard. */
export const DEPTH = 32;

export interface Shard {
  /** What belongs to it, by `keyText`. */
  readonly objects: Map<string, Owned>;
  /** ModifyIndex of its variable; 0 while it has none that we know of. */
  index: number;
  /** It must be written before anything can count as saved. */
  dirty: boolean;
  /** A write was sent, whatever became of it. */
  sent: boolean;
}

export class ShardTree {
  readonly #shards = new Map<string, Shard>();
  #deepest = 0;

  get(prefix: string): Shard | undefined {
    return this.#shards.get(prefix);
  }

  /** All of them. */
  objects(): Owned[] {
    return [...this.#shards.values()].flatMap((shard) => [...shard.objects.values()]);
  }

  add(prefix: string, shard: Shard): Shard {
    this.#shards.set(prefix, shard);
    this.#deepest = Math.max(this.#deepest, prefix.length);
    return shard;
  }

  remove(prefix: string): void {
    this.#shards.delete(prefix);
  }

  /** @returns the prefix of the shard that holds objects of this hash; undefined where nothing holds them yet. */
  find(hash: string): string | undefined {
    for (let depth = this.#deepest; depth >= 0; depth--) {
      const prefix = hash.slice(0, depth);
      if (this.#shards.has(prefix)) return prefix;
    }
    return undefined;
  }

  /** Takes what an object is now; undefined where it is no more. */
  set(key: string, object: Owned | undefined): void {
    const prefix = this.find(hashOf(key)) ?? '';
    const shard = this.#shards.get(prefix) ?? this.add(prefix, newShard());
    if (object === undefined) shard.objects.delete(key);
    else shard.objects.set(key, object);
    shard.dirty = true;
  }

  /** Hands what a shard holds to its children. It may be stored still, until `covered` names it. */
  split(prefix: string): void {
    const shard = this.#shards.get(prefix);
    for (const child of children(prefix)) if (!this.#shards.has(child)) this.add(child, newShard());
    for (const [key, object] of shard?.objects ?? [])
      this.#shards.get(this.find(hashOf(key)) ?? '')?.objects.set(key, object);
    shard?.objects.clear();
    if (shard?.sent === false) this.remove(prefix);
  }

  /** Shards to write: those that changed and hold something, or may hold something. */
  dirty(): string[] {
    return [...this.#shards].filter(([prefix, shard]) => shard.dirty && !this.#isCovered(prefix)).map(([p]) => p);
  }

  /** Shards that count for nothing any more, because deeper ones hold all of their objects. */
  covered(): string[] {
    return [...this.#shards.keys()].filter((prefix) => this.#isCovered(prefix));
  }

  #isCovered(prefix: string): boolean {
    if (prefix.length >= this.#deepest) return false;
    return children(prefix).every((child) => this.#shards.has(child) || this.#isCovered(child));
  }
}

function newShard(): Shard {
  return { objects: new Map(), index: 0, dirty: true, sent: false };
}

function children(prefix: string): readonly [string, string] {
  return [`${prefix}0`, `${prefix}1`];
}

/**
 * FNV-1a over UTF-16 units, then the finaliser of MurmurHash3 so that the first bits are as good as the last; as 32
 * characters `0` and `1`. It is part of the stored format: a change of it loses every object.
 */
export function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0).toString(2).padStart(DEPTH, '0');
}
