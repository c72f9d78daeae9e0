import { isAlias, isCollection, isMap, isScalar, isSeq, type Alias, type Node, type Pair, type YAMLMap } from 'yaml';
import type { Position } from '../../contract/resource.ts';
import { isMerge, keyOf } from './plain.ts';

/** A path into a document. */
export type Path = readonly (string | number)[];

/** `spec.roles[2].name` */
export function pathText(path: Path): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${String(part)}]` : text === '' ? part : `.${part}`;
  return text;
}

/** Finds line and column of an offset. */
export class Lines {
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  at(offset: number): { line: number; column: number } {
    let low = 0;
    for (let high = this.#starts.length; high - low > 1;) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - (this.#starts[low] ?? 0) + 1 };
  }
}

type Entry = Pair<Node, Node | null>;

/** A node, where it begins, and the pair that it is the value of. */
interface Place {
  readonly node: Node | null;
  readonly offset: number;
  readonly pair?: Entry;
}

/** Finds the positions of a document's fields. */
export class Locator {
  readonly #root: Node | null;
  readonly #targets: ReadonlyMap<Alias, Node>;
  readonly #position: (offset: number) => Position;
  readonly #pairs = new WeakMap<YAMLMap, Map<string, Entry>>();

  constructor(root: Node | null, targets: ReadonlyMap<Alias, Node>, position: (offset: number) => Position) {
    this.#root = root;
    this.#targets = targets;
    this.#position = position;
  }

  /** Of the field's value, or of its key where the value begins on a later line; of the nearest parent where it is missing. */
  value(path: Path): Position {
    return this.#position(this.#walk(path).offset);
  }

  /** Of the field's key. */
  key(path: Path): Position {
    const { offset, pair } = this.#walk(path);
    return this.#position(pair?.key.range?.[0] ?? offset);
  }

  /** The path that a text such as `spec.roles[2].name` stands for; keys may have dots of their own. */
  parse(text: string, start: Path): Path {
    const path = [...start];
    let { node } = this.#walk(start);
    for (let rest = text; rest !== '';) {
      const step = this.#step(node, rest);
      path.push(step.part);
      node = step.node;
      rest = step.rest;
    }
    return path;
  }

  #step(node: Node | null, text: string): { part: string | number; node: Node | null; rest: string } {
    const index = /^\[(\d+)\]\.?/.exec(text);
    if (index !== null) {
      const part = Number(index[1]);
      return { part, node: this.#child(node, part)?.node ?? null, rest: text.slice(index[0].length) };
    }
    const found = [...this.#keys(node)].filter((key) => isHead(key, text)).sort((a, b) => b.length - a.length)[0];
    const part = found ?? /^[^.[]*/.exec(text)?.[0] ?? text;
    const length = Math.max(part.length, 1);
    const rest = text.slice(text[length] === '.' ? length + 1 : length);
    return { part, node: this.#child(node, part)?.node ?? null, rest };
  }

  #walk(path: Path): Place {
    let at: Place = { node: this.#root, offset: this.#root?.range?.[0] ?? 0 };
    for (const part of path) {
      const child = this.#child(at.node, part);
      if (child === undefined) return { node: null, offset: at.offset };
      at = child;
    }
    return at;
  }

  #child(parent: Node | null, part: string | number): Place | undefined {
    const node = this.#resolved(parent);
    if (isSeq<Node>(node) && typeof part === 'number') {
      const item = node.items[part];
      return item && { node: item, offset: item.range?.[0] ?? 0 };
    }
    if (!isMap<Node, Node | null>(node) || typeof part !== 'string') return undefined;
    const pair = this.#index(node).get(part);
    if (pair === undefined) return this.#merged(node, part);
    return { node: pair.value, offset: this.#offset(pair), pair };
  }

  /** Of a value on its key's line, else of the key. */
  #offset({ key, value }: Entry): number {
    const start = key.range?.[0] ?? 0;
    const own = value?.range?.[0] ?? start;
    if (isCollection(value) && value.flow !== true) return start;
    const isEmpty = isScalar(value) && value.source === '';
    return isEmpty || this.#position(start).line !== this.#position(own).line ? start : own;
  }

  #merged(node: YAMLMap<Node, Node | null>, part: string): Place | undefined {
    for (const { key, value } of node.items) {
      if (!isMerge(key)) continue;
      const source = this.#resolved(value);
      for (const from of isSeq<Node>(source) ? source.items : [source]) {
        const child = this.#child(from, part);
        if (child !== undefined) return child;
      }
    }
    return undefined;
  }

  #resolved(node: Node | null): Node | null {
    return isAlias(node) ? (this.#targets.get(node) ?? null) : node;
  }

  #keys(parent: Node | null): Iterable<string> {
    const node = this.#resolved(parent);
    return isMap<Node, Node | null>(node) ? this.#index(node).keys() : [];
  }

  #index(node: YAMLMap<Node, Node | null>): Map<string, Entry> {
    let index = this.#pairs.get(node);
    if (index === undefined) {
      index = new Map();
      for (const pair of node.items) {
        const key = keyOf(pair.key);
        if (key !== undefined && !index.has(key)) index.set(key, pair);
      }
      this.#pairs.set(node, index);
    }
    return index;
  }
}

function isHead(key: string, text: string): boolean {
  return text === key || text.startsWith(`${key}.`) || text.startsWith(`${key}[`);
}
