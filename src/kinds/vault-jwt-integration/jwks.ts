import { exportSPKI, importJWK, type JWK } from 'jose';
import { messageOf, TargetError } from '../../contract/errors.ts';
import type { ObjectType } from '../../contract/kind.ts';
import type { Live, ObjectKey } from '../../plan/step.ts';
import type { Value } from '../../plan/value.ts';

export const JWKS_PATH = '/.well-known/jwks.json';

/** The keys that Nomad signs workload identities with. They are only looked at. */
export const jwksObject: ObjectType = {
  name: 'jwks',
  connection: 'NomadCluster',
  after: [],

  async read(io, request, signal) {
    const api = io.nomad(request.connection);
    const reply = await api.get<{ keys?: JWK[] }>(JWKS_PATH, {}, signal);
    const keys = reply?.body.keys ?? [];
    if (keys.length === 0) {
      throw new TargetError(`${api.address}${JWKS_PATH} has no keys`, { class: 'dependency' });
    }
    const pems = await Promise.all(keys.map((key) => publicKey(key, `${api.address}${JWKS_PATH}`)));
    const live: Live = { fields: { keys: pems } };
    return { objects: new Map([[jwksKey(request.connection).name, live]]) };
  },
};

export function jwksKey(connection: string): ObjectKey {
  return { connection, type: jwksObject.name, name: 'keys' };
}

/** @returns the key as PEM (SPKI), the only form in which Vault takes keys. @throws TargetError for what is no public signature key. */
async function publicKey(key: JWK, url: string): Promise<string> {
  try {
    if (key.d !== undefined || key.kty === 'oct') throw new Error('it is not a public key');
    const imported = await importJWK({ ...key, ext: true }, key.alg);
    if (imported instanceof Uint8Array) throw new Error('it is not a public key');
    return (await exportSPKI(imported)).trim();
  } catch (error) {
    throw new TargetError(`${url}: key ${key.kid ?? '(without kid)'} can't be used: ${messageOf(error)}`, {
      class: 'dependency',
    });
  }
}

/** What the inventory keeps of a key: since when Nomad no longer publishes it, null while it does. Milliseconds. */
export interface SeenKey {
  readonly pem: string;
  readonly goneSince: number | null;
}

/** The keys that Vault shall accept: those published now, and those that a token still alive may be signed by. */
export function keysToKeep(
  published: readonly string[],
  seen: readonly SeenKey[],
  keepForMs: number,
  now: number,
): SeenKey[] {
  const current = published.map((pem): SeenKey => ({ pem, goneSince: null }));
  const former = seen
    .filter((key) => !published.includes(key.pem))
    .map((key) => ({ ...key, goneSince: key.goneSince ?? now }))
    .filter((key) => now - key.goneSince < keepForMs);
  return [...current, ...former];
}

export function seenKeys(value: Value | undefined): readonly SeenKey[] {
  return Array.isArray(value) ? (value as unknown[] as SeenKey[]) : [];
}
