import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { traced, type Env } from './tracing.ts';

const EXECUTABLE = resolve(import.meta.dirname, '../../dist/nomad-access.js');
const BARE = join(import.meta.dirname, 'bare.mjs');

/** Milliseconds of whole processes, of each round. */
export interface ImportFigures {
  readonly bare: number[];
  readonly ours: number[];
  readonly requests: number[];
}

/** `import` of what a bare client has made, beside a bare client that only reads it. */
export function benchImport(folder: string, env: Env, rounds: number): ImportFigures {
  const figures: ImportFigures = { bare: [], ours: [], requests: [] };
  traced([BARE, 'create'], env);
  const out = join(folder, 'imported');
  for (let round = 0; round < rounds; round++) {
    figures.bare.push(traced([BARE, 'read'], env).total);
    const ours = traced([EXECUTABLE, 'import', '--out', out, '--kind', 'AclPolicy', '--kind', 'AclToken'], env);
    figures.ours.push(ours.total);
    figures.requests.push(ours.requests);
    rmSync(out, { recursive: true });
  }
  traced([BARE, 'delete'], env);
  return figures;
}
