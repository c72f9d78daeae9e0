import { isAlias, isMap, isScalar, isSeq, type Alias, type Document, type Node, type Pair } from 'yaml';

/** Levels of mappings and lists in one document. */
export const DEEPEST = 100;
/** Values that the aliases of one document may stand for. */
const MOST_ALIASED = 10_000;

/** Something wrong in a text, and where: an offset. */
export interface Problem {
  readonly offset: number;
  readonly message: string;
}

/** A document as plain data. */
export interface Plain {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** False where the value lacks something that could not be read; a key that stands twice is not that. */
  readonly isWhole: boolean;
  /** What each alias stands for. */
  readonly targets: ReadonlyMap<Alias, Node>;
}

interface Anchored {
  readonly node: Node;
  readonly value: unknown;
  /** Values in it, itself included. */
  readonly size: number;
  /** Levels below it. */
  readonly height: number;
}

/** An alias shares the value that it stands for, so that it costs nothing; what it stands for is counted all the same. */
export function toPlain(document: Document.Parsed): Plain {
  const conversion = new Conversion();
  const value = document.contents === null ? null : conversion.node(document.contents, 0);
  const { problems, targets, isWhole } = conversion;
  return { value, problems, targets, isWhole };
}

class Conversion {
  isWhole = true;
  readonly problems: Problem[] = [];
  readonly targets = new Map<Alias, Node>();
  readonly #anchors = new Map<string, Anchored | 'open'>();
  #size = 0;
  #aliased = 0;
  #deepest = 0;

  node(node: Node | null, depth: number): unknown {
    if (node === null) return null;
    if (isAlias(node)) return this.#alias(node, depth);
    const anchor = 'anchor' in node && typeof node.anchor === 'string' ? node.anchor : undefined;
    return anchor === undefined ? this.#content(node, depth) : this.#anchored(node, anchor, depth);
  }

  #anchored(node: Node, anchor: string, depth: number): unknown {
    const before = { size: this.#size, deepest: this.#deepest };
    this.#anchors.set(anchor, 'open');
    this.#deepest = depth;
    const value = this.#content(node, depth);
    this.#anchors.set(anchor, { node, value, size: this.#size - before.size, height: this.#deepest - depth });
    this.#deepest = Math.max(before.deepest, this.#deepest);
    return value;
  }

  #content(node: Node, depth: number): unknown {
    this.#size++;
    this.#deepest = Math.max(this.#deepest, depth);
    if (isScalar(node)) return node.value;
    if (isSeq<Node>(node)) return node.items.map((item) => this.node(item, depth + 1));
    if (isMap<Node, Node | null>(node)) return this.#map(node.items, depth + 1);
    return null;
  }

  #map(pairs: readonly Pair<Node, Node | null>[], depth: number): unknown {
    const result: Record<string, unknown> = {};
    const merged: Record<string, unknown>[] = [];
    for (const { key, value } of pairs) {
      const name = keyOf(key);
      if (name === undefined) this.#refuse(key, 'a key must be text: put it in quotes');
      else if (name === '__proto__') this.#refuse(key, 'no key can be called __proto__');
      else if (isMerge(key)) this.#merge(key, this.node(value, depth), merged);
      else if (Object.hasOwn(result, name)) this.#note(key, `"${name}" stands here twice: remove one of them`);
      else result[name] = this.node(value, depth);
    }
    for (const source of merged) {
      for (const [name, value] of Object.entries(source)) if (!Object.hasOwn(result, name)) result[name] = value;
    }
    return result;
  }

  /** `<<: *base`, or a list of such; the first one wins. */
  #merge(key: Node, value: unknown, merged: Record<string, unknown>[]): void {
    for (const source of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (isRecord(source)) merged.push(source);
      else this.#refuse(key, '"<<" takes a mapping, or a list of mappings');
    }
  }

  #alias(alias: Alias, depth: number): unknown {
    const anchored = this.#anchors.get(alias.source);
    if (anchored === undefined) return this.#refuse(alias, noAnchor);
    if (anchored === 'open') return this.#refuse(alias, withinItself);
    this.targets.set(alias, anchored.node);
    this.#size += anchored.size;
    this.#aliased += anchored.size;
    this.#deepest = Math.max(this.#deepest, depth + anchored.height);
    if (this.#aliased > MOST_ALIASED) return this.#refuse(alias, tooMany);
    if (this.#deepest > DEEPEST) return this.#refuse(alias, tooDeep);
    return anchored.value;
  }

  #refuse(node: Node, message: string): null {
    this.isWhole = false;
    const isRepeated = this.problems.at(-1)?.message === message && (message === tooMany || message === tooDeep);
    if (!isRepeated) this.#note(node, message);
    return null;
  }

  #note(node: Node, message: string): void {
    this.problems.push({ offset: node.range?.[0] ?? 0, message });
  }
}

const noAnchor = 'no anchor (&) stands before this alias (*): a text that begins with * needs quotes';
const withinItself = 'an alias (*) stands within what it stands for';
const tooMany = `the aliases stand for more than ${String(MOST_ALIASED)} values`;
export const tooDeep = `mappings and lists are nested more than ${String(DEEPEST)} levels deep`;

/** The key of a pair, if it is text. */
export function keyOf(key: Node | null): string | undefined {
  return isScalar(key) && typeof key.value === 'string' ? key.value : undefined;
}

export function isMerge(key: Node): boolean {
  return isScalar(key) && key.value === '<<' && key.type === 'PLAIN';
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
