import { describe, expect, it } from 'vitest';
import type { Resource } from '../../src/contract/resource.ts';
import { Declarations } from '../../src/engine/declarations.ts';
import type { World } from '../../src/engine/world.ts';
import { resourceText, type Owned } from '../../src/plan/step.ts';

function resource(name: string, spec: unknown = {}): Resource {
  const source = `Thing default/${name}`;
  const metadata = { name, namespace: 'default', annotations: {} };
  return { kind: 'Thing', metadata, spec, source, folder: '/', locate: () => ({ file: source, line: 0, column: 0 }) };
}

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const desire = (resources: readonly Resource[]) => ({ resources, errors: [], roots: [], unknown: [] });

/** Each of them is declared, and owns one object. @param kept sources of which nothing is pruned. */
function declared(kept = new Set<string>()): { declarations: Declarations; world: World } {
  const owned = NAMES.map((name): Owned => {
    const id = { kind: 'Thing', namespace: 'default', name };
    const key = { connection: 'default', type: 'thing', name };
    const rest = { adopted: false, deletionPolicy: 'Delete', suspended: false } as const;
    return { key, resource: id, state: 'owned', source: `Thing default/${name}`, ...rest };
  });
  const world = {
    ledger: {
      all: () => owned,
      size: owned.length,
      ownedBy: (id: string) => owned.filter((o) => resourceText(o.resource) === id),
    },
    inScope: (source: string) => !kept.has(source),
  } as unknown as World;
  const declarations = new Declarations(world, false);
  declarations.replace(desire(NAMES.map((name) => resource(name))));
  return { declarations, world };
}

const ids = (names: readonly string[]): string[] => names.map((name) => `Thing default/${name}`);

describe('declarations', () => {
  it('that vanish without anybody’s asking are held, if they are too many: an empty checkout must not empty a cluster', () => {
    const { declarations } = declared();
    const { heldObjects } = declarations.change({ changed: [], deleting: [], gone: ids(NAMES) });
    expect(heldObjects).toBe(6);
    expect(declarations.isHeld('Thing default/a')).toBe(true);
    expect(declarations.replace(desire([])).heldObjects).toBe(6);
  });

  it('that are deleted one by one are never held, however many', () => {
    const { declarations } = declared();
    const deleting = NAMES.map((name) => resource(name));
    expect(declarations.change({ changed: [], deleting, gone: [] }).heldObjects).toBe(0);
    expect(declarations.change({ changed: [], deleting: [], gone: ids(NAMES) }).heldObjects).toBe(0);
  });

  it('that become invalid hold nothing, and can be deleted then', () => {
    const kept = new Set(ids(NAMES));
    const { declarations } = declared(kept);
    expect(declarations.change({ changed: [], deleting: [], gone: ids(NAMES) }).heldObjects).toBe(0);
    kept.clear();
    const deleting = NAMES.map((name) => resource(name));
    const { undeclared } = declarations.change({ changed: [], deleting, gone: [] });
    expect(undeclared).toEqual(ids(NAMES));
    expect(declarations.isHeld('Thing default/a')).toBe(false);
  });

  it('that are declared again are held no more', () => {
    const { declarations } = declared();
    declarations.change({ changed: [], deleting: [], gone: ids(NAMES) });
    expect(declarations.change({ changed: NAMES.map((n) => resource(n)), deleting: [], gone: [] }).heldObjects).toBe(0);
    expect(declarations.isHeld('Thing default/a')).toBe(false);
  });

  it('tells an edit from other words for the same, and from another annotation', () => {
    const { declarations } = declared();
    const [a, b, c] = [resource('a', { x: 1 }), resource('b'), resource('c')];
    const annotated = { ...c, metadata: { ...c.metadata, annotations: { ask: 'now' } } };
    const difference = declarations.change({ changed: [a, b, annotated], deleting: [], gone: [] });
    expect(difference).toMatchObject({ changed: ids(['a', 'c']), edited: ids(['a']), reworded: ids(['b']) });
    expect(declarations.get('Thing default/b')).toBe(b);
  });
});
