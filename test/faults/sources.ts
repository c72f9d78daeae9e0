import { at } from './choice.ts';
import { aWhile, type Happenings } from './happening.ts';
import type { Simulation } from './simulation.ts';

/** Places of secrets that others made and that are sent to a server, and what becomes of them there. */

/** As manifests name it. */
export interface SourceSpec {
  readonly file?: string;
  readonly env?: string;
  readonly secretRef?: { readonly name: string; readonly key: string };
}

const PLACES = ['a-secret', 'NOMAD_ACCESS_SECRET_B', 'c'];
const SPECS: readonly SourceSpec[] = [
  { file: 'a-secret' },
  { env: 'NOMAD_ACCESS_SECRET_B' },
  { secretRef: { name: 'sources', key: 'c' } },
];

export function sourceSpec(choice: number): SourceSpec {
  return at(SPECS, choice);
}

/** What stands there now. */
export function secretAt(s: Simulation, { file, env, secretRef }: SourceSpec): string | undefined {
  return s.sources.get(file ?? env ?? secretRef?.key ?? '');
}

/** A secret at every place. */
export function prepareSources(s: Simulation): void {
  for (const place of PLACES) provide(s, place);
}

export const sourceHappenings: Happenings = {
  newSource: (s, c) => {
    provide(s, at(PLACES, c));
  },
  sourceGone: (s, c) => {
    const place = at(PLACES, c);
    const secret = s.sources.get(place);
    s.sources.delete(place);
    s.clock.after(aWhile(c), () => {
      if (secret !== undefined && !s.sources.has(place)) s.sources.set(place, secret);
    });
  },
};

/** None is like another one. */
function provide(s: Simulation, place: string): void {
  s.provide(place, `precious-${place}-${String(s.secrets.length)}`);
}
