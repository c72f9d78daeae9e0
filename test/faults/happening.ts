import type { Simulation } from './simulation.ts';
import type { Faults } from './sim-transport.ts';

/** Something that happens to the servers, the declaration or the operator. The same choice always chooses the same. */
export type Happening = (simulation: Simulation, choice: number) => void | Promise<void>;
export type Happenings = Readonly<Record<string, Happening>>;

/** Somebody declares resources, in the place of those of the same name. @param resources `Kind name` → spec. */
export function declare(s: Simulation, resources: Readonly<Record<string, unknown>>): void {
  s.declare({ ...s.declaration, ...resources });
}

/** Somebody takes a resource out of the declaration. @param id `Kind name`. */
export function withdraw(s: Simulation, id: string): void {
  s.declare(Object.fromEntries(Object.entries(s.declaration).filter(([key]) => key !== id)));
}

/** The declared resources of a kind: name and spec. */
export function declared<T>(s: Simulation, kind: string): [string, T][] {
  return Object.entries(s.declaration)
    .filter(([id]) => id.startsWith(`${kind} `))
    .map(([id, spec]) => [id.slice(kind.length + 1), spec as T]);
}

/** What is changed before it is recorded that we made it can't be told from what somebody else made: it is a Conflict. */
export function isRecorded(s: Simulation, name: string): boolean {
  const entries = s.inventory?.objects.filter((o) => o.key.name === name || o.key.name.endsWith(`/${name}`)) ?? [];
  return entries.length > 0 && entries.every((o) => o.state === 'owned');
}

/** Something goes wrong with a server for a while. */
export function trouble(target: 'nomad' | 'vault', change: Partial<Faults>): Happening {
  const none = Object.fromEntries(
    Object.entries(change).map(([name, value]) => [name, typeof value === 'number' ? 0 : false]),
  ) as Partial<Faults>;
  return (s, c) => {
    Object.assign(s.faults[target], change);
    s.clock.after(aWhile(c), () => {
      Object.assign(s.faults[target], none);
    });
  };
}

/** Between half a second and ten; milliseconds. */
export function aWhile(choice: number): number {
  return 500 + (choice % 10_000);
}
