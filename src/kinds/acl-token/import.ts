import {
  manifestNameOf,
  type Importable,
  type Importer,
  type ImportRequest,
  type Skipped,
} from '../../contract/import.ts';
import type { Live } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { byLiveName } from '../imported.ts';
import { markerOf, ownerId, unmarked, type Marker } from '../marked/marker.ts';
import { instant } from '../nomad-token/rotation.ts';
import { readTokens } from '../nomad-token/token.ts';

/** A token of Vault's Nomad engine: `vault-<role>-<who asked>-<nanoseconds>`. */
const LEASED = /^vault-.*-[0-9]{16,}$/;
const NO_SINK = 'Where its secret is kept is not known: name the place in writeSecretTo.';

/** Tokens that carry our marker become what made them, all others are named by their accessor IDs. */
export const aclTokenImporter: Importer = {
  from: 'NomadCluster',

  async find(io, request, signal) {
    const { objects } = await readTokens(io.nomad(request.connection), () => true, signal);
    const found: Importable[] = [];
    const skipped: Skipped[] = [];
    for (const live of newestOfEach([...objects.values()])) {
      const name = stringIn(live.fields, 'name');
      const marker = markerOf(name);
      const base = unmarked(name);
      if (!request.isMeant(base)) continue;
      const importable = marker === undefined ? namedToken(live, request) : ownToken(live, base, marker, request);
      if (typeof importable === 'string') skipped.push({ liveName: `${name} (${live.id ?? ''})`, why: importable });
      else found.push(importable);
    }
    return { found: byLiveName(found), skipped };
  },
};

/** Of the tokens that one resource has made, the one that stands for it. */
function newestOfEach(lives: readonly Live[]): Live[] {
  const newest = new Map<string, { live: Live; sequence: number }>();
  for (const live of lives) {
    const { owner, sequence } = markerOf(stringIn(live.fields, 'name')) ?? { owner: live.id ?? '', sequence: 0 };
    if ((newest.get(owner)?.sequence ?? -1) < sequence) newest.set(owner, { live, sequence });
  }
  return [...newest.values()].map(({ live }) => live);
}

/** @returns why there is no manifest for it, where there is none. */
function namedToken(live: Live, { connection, now }: ImportRequest): Importable | string {
  const name = stringIn(live.fields, 'name');
  const ends = live.facts?.['expiresAt'];
  if (typeof ends === 'number' && ends <= now) return `it expired at ${instant(ends)}, and Nomad deletes it`;
  if (live.protected !== undefined) return live.protected;
  if (LEASED.test(name)) return 'Vault’s Nomad secrets engine made it, and deletes it when its lease ends';
  return {
    liveName: name,
    distinction: (live.id ?? '').slice(0, 8),
    nameField: 'name',
    isShared: live.fields['global'] === true,
    spec: { accessorId: live.id, ...specOf(live, connection), writeSecretTo: { none: {} } },
    notes: [
      ...(typeof ends === 'number'
        ? [`It ends at ${instant(ends)}, and goes for good: delete this manifest then.`]
        : []),
      ...notesOf(live),
    ],
  };
}

/** The resource that made it can be told from its marker only by trying. */
function ownToken(
  live: Live,
  base: string,
  { owner }: Marker,
  { connection, owner: installation, namespace }: ImportRequest,
): Importable | string {
  const name = [base, manifestNameOf(base)].find(
    (candidate) => ownerId(installation, { kind: 'AclToken', namespace, name: candidate }) === owner,
  );
  if (name === undefined)
    return 'it carries the marker of a resource of another name, namespace or installation, which has a manifest of its own';
  const spec = { ...specOf(live, connection), writeSecretTo: { none: {} } };
  const isShared = live.fields['global'] === true;
  return { liveName: base, metadataName: name, nameField: 'name', isShared, spec, notes: [NO_SINK, ...notesOf(live)] };
}

/** A token goes on being linked to a role that was deleted: that has an ID, and no name any more. */
function notesOf({ fields, facts }: Live): string[] {
  const names = fields['roles'] as readonly string[];
  const gone = ((facts?.['roleIds'] ?? []) as readonly string[]).filter((id) => names.includes(id));
  return gone.map((id) => `The role ${id} was deleted, and gives nothing: leave it out once the token is taken over.`);
}

function specOf({ fields }: Live, nomadRef: string): Record<string, unknown> {
  const { name: _name, expirationTtl, ...rest } = fields;
  return { nomadRef, ...rest, ...(expirationTtl !== null && { expirationTtl }) };
}
