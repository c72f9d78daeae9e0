import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { problem, type Found, type NomadCheck, type NomadPatient, type VaultCheck } from './check.ts';
import { jwtConfig, jwtMounts, nomadOf, urlsOf, type JwtConfig } from './mounts.ts';

const JWKS_PATH = '/.well-known/jwks.json';

interface Jwk extends JsonWebKey {
  readonly kid?: string;
  readonly alg?: string;
}

/** @returns undefined for what is no set of keys. */
function keysIn(text: string): readonly Jwk[] | undefined {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown };
    return Array.isArray(keys) ? (keys as Jwk[]) : undefined;
  } catch {
    return undefined;
  }
}

async function published({ probe }: NomadPatient, signal: AbortSignal): Promise<readonly Jwk[]> {
  const answer = await probe(JWKS_PATH, signal).catch(() => undefined);
  return answer?.status === 200 ? (keysIn(answer.text) ?? []) : [];
}

export const jwksPublished: NomadCheck = {
  name: 'nomad-jwks',
  fine: 'it publishes the keys of its workload identities',
  async look(nomad, { signal }) {
    if ((await published(nomad, signal)).length > 0) return [];
    return [
      problem(
        JWKS_PATH,
        `no keys are to be had from ${nomad.api.address}${JWKS_PATH}`,
        'Vault cannot verify workloads without them: is anything between here and Nomad in the way? A server makes its first key once there is a leader.',
      ),
    ];
  },
};

export const keysKnown: VaultCheck = {
  name: 'vault-keys',
  fine: 'Vault knows the keys and algorithms that Nomad signs with, as far as can be seen from here',
  concerns: ['VaultJwtIntegration'],
  async look(vault, setting) {
    const { signal } = setting;
    const found: Found[] = [];
    for (const { path } of await jwtMounts(setting, vault)) {
      const config = await jwtConfig(vault.api, path, signal);
      if (config === undefined) continue;
      const addresses = urlsOf(config);
      const nomad = nomadOf(setting, vault, { kind: 'VaultJwtIntegration', path, addresses });
      const keys = nomad === undefined ? [] : await published(nomad, signal);
      if (nomad === undefined || keys.length === 0) continue;
      found.push(...algorithms(path, config, keys), ...pinned(path, config, keys));
      for (const url of addresses) found.push(...(await elsewhere(path, url, nomad, keys, signal)));
    }
    return found;
  },
};

const kid = (key: Jwk): string => key.kid ?? '(without an id)';

/** Where none is named, Vault takes RS256. */
function algorithms(path: string, { jwt_supported_algs }: JwtConfig, keys: readonly Jwk[]): Found[] {
  const accepted = jwt_supported_algs?.length ? jwt_supported_algs : ['RS256'];
  const others = keys.filter(({ alg }) => alg !== undefined && !accepted.includes(alg));
  return others.map((key) =>
    problem(
      `auth/${path}/config`,
      `Nomad signs with ${String(key.alg)} (key ${kid(key)}), and Vault accepts only ${accepted.join(', ')} there: logins fail with "unexpected signature algorithm"`,
      `Add ${String(key.alg)} to supportedAlgs of the integration (jwt_supported_algs).`,
    ),
  );
}

/** Keys that were written to Vault, instead of an address where it gets them. */
function pinned(path: string, { jwt_validation_pubkeys }: JwtConfig, keys: readonly Jwk[]): Found[] {
  const known = jwt_validation_pubkeys ?? [];
  if (known.length === 0) return [];
  const missing = keys.filter((key) => !known.map(spki).includes(spkiOf(key)));
  return missing.map((key) =>
    problem(
      `auth/${path}/config`,
      `it lacks Nomad’s key ${kid(key)}: logins by tokens that are signed with it fail with "no known key successfully validated the token signature"`,
      'Let nomad-access keep the keys in step (syncKeys of the integration), or write the key to jwt_validation_pubkeys.',
    ),
  );
}

function spki(pem: string): string | undefined {
  try {
    return createPublicKey(pem).export({ type: 'spki', format: 'der' }).toString('base64');
  } catch {
    return undefined;
  }
}

function spkiOf(key: Jwk): string | undefined {
  try {
    return createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'der' }).toString('base64');
  } catch {
    return undefined;
  }
}

/** Vault's way to the keys need not be ours: only an answer from here says something. */
async function elsewhere(
  path: string,
  url: string,
  { api, name }: NomadPatient,
  keys: readonly Jwk[],
  signal: AbortSignal,
): Promise<Found[]> {
  if (url === `${api.address}${JWKS_PATH}`) return [];
  const there = await keysAt(url, signal);
  if (there === undefined) return [];
  const ids = new Set(there.map(({ kid }) => kid));
  const missing = keys.filter((key) => !ids.has(key.kid));
  if (missing.length === 0) return [];
  return [
    problem(
      `auth/${path}/config`,
      `Vault gets its keys from ${url}, where those of NomadCluster/${name} are not: ${missing.map(kid).join(', ')}`,
      `Set jwksUrl of the integration to ${api.address}${JWKS_PATH}, or to where that Nomad is seen from Vault.`,
    ),
  ];
}

/** Longest wait for keys at an address that only Vault need reach; milliseconds. */
const WAIT_MS = 5_000;

async function keysAt(url: string, signal: AbortSignal): Promise<readonly Jwk[] | undefined> {
  try {
    const either = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]);
    const response = await fetch(url, { signal: either, redirect: 'error' });
    return response.ok ? keysIn(await response.text()) : undefined;
  } catch {
    return undefined;
  }
}
