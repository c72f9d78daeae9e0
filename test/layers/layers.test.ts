import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Which folders of src may import from which. `cli` and what lies at the top wire everything. */
const ALLOWED: Record<string, readonly string[]> = {
  plan: [],
  contract: ['plan'],
  kinds: ['contract', 'plan'],
  engine: ['contract', 'plan'],
  schema: ['contract'],
  sources: ['contract', 'plan'],
  http: ['contract'],
  kubernetes: ['contract', 'http'],
  credentials: ['contract', 'plan'],
  targets: ['contract', 'plan', 'http'],
  sinks: ['contract', 'plan'],
  state: ['contract', 'plan'],
  telemetry: ['contract', 'plan'],
  sandbox: [],
  import: ['contract', 'plan'],
  doctor: ['contract', 'kinds'],
};

const SRC = resolve(import.meta.dirname, '../../src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
const roomOf = (file: string): string => file.split('/')[0] ?? '';

/** What a text imports, in every way that there is to import. */
function importsIn(text: string): string[] {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((m) => m[1] ?? '');
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return importsIn(text).map((path) => relative(SRC, resolve(SRC, dirname(file), path)));
}

describe('layers', () => {
  it('no way of importing goes unseen', () => {
    const text = "import './a.ts';\nimport type { B } from './b.ts';\nexport * from './c.ts';\nawait import('./d.ts');";
    expect(importsIn(text)).toEqual(['./a.ts', './b.ts', './c.ts', './d.ts']);
  });

  it.each(Object.entries(ALLOWED))('%s imports from nothing of ours but %j', (room, allowed) => {
    const inRoom = files.filter((f) => roomOf(f) === room);
    expect(inRoom.length).toBeGreaterThan(0);
    const wrong = inRoom.flatMap((f) =>
      importsOf(f)
        .filter((target) => roomOf(target) !== room && !allowed.includes(roomOf(target)))
        .map((target) => `${f} → ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('who looks for something is told which folder of src to enter', () => {
    const text = readFileSync(join(SRC, '../CONTRIBUTING.md'), 'utf8');
    const told = [...text.matchAll(/^\| (`[^|]*`) *\|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([^`]+?)\/?`/g)].map(([, place = '']) => place),
    );
    expect(told.sort()).toEqual([...new Set(files.map(roomOf))].sort());
  });

  it('every folder of src has its place in the layers', () => {
    const rooms = new Set(files.map(roomOf).filter((room) => !room.endsWith('.ts')));
    expect([...rooms].filter((room) => room !== 'cli' && !(room in ALLOWED))).toEqual([]);
  });
});
