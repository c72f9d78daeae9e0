import { TargetError } from '../contract/errors.ts';
import { kvAt, type KvEngine } from '../kinds/acl-token/kv-store.ts';
import type { AclTokenSpec } from '../kinds/acl-token/schema.ts';
import { problem, type Found, type Setting, type VaultPatient } from './check.ts';
import type { Right } from './rights.ts';

/** As in manifests/vault/token-sinks.hcl: what the secrets of the declared tokens need in Vault's KV engines. */
export interface KvRights {
  readonly rights: readonly Right[];
  /** Mounts of which not even the version is to be had. */
  readonly found: readonly Found[];
}

const EXAMPLE = 'manifests/vault/token-sinks.hcl';

/** @throws TargetError where the server can't be asked. */
export async function kvRights(vault: VaultPatient, { resources, signal }: Setting): Promise<KvRights> {
  const byMount = new Map<string, string[]>();
  for (const { mount, path } of sinksOn(vault.name, resources))
    byMount.set(mount, [...(byMount.get(mount) ?? []), `${mount}/${path}`]);
  const rights: Right[] = [];
  const found: Found[] = [];
  for (const [mount, paths] of byMount) {
    const engine = await engineAt(vault, paths[0] ?? mount, signal);
    if (engine instanceof TargetError)
      found.push(problem(mount, engine.message, `Secrets of declared tokens go there; see ${EXAMPLE}.`));
    else rights.push(...paths.flatMap((path) => ofSecret(engine, path)));
  }
  return { rights, found };
}

function sinksOn(vault: string, resources: Setting['resources']): { mount: string; path: string }[] {
  return resources
    .filter(({ kind }) => kind === 'AclToken')
    .flatMap(({ spec }) => (spec as AclTokenSpec).writeSecretTo.vaultKv ?? [])
    .filter(({ vaultRef }) => vaultRef === vault);
}

async function engineAt(vault: VaultPatient, path: string, signal: AbortSignal): Promise<KvEngine | TargetError> {
  try {
    return (await kvAt(vault.api, path, signal)).engine;
  } catch (error) {
    if (error instanceof TargetError && error.class !== 'transient') return error;
    throw error;
  }
}

/** Which of create and update Vault asks for depends on what is there, and both come to pass. */
function ofSecret({ version, mount }: KvEngine, path: string): Right[] {
  const below = path.slice(mount.length);
  if (version === 1) return [{ path, needed: ['create', 'read', 'update', 'delete'], example: EXAMPLE }];
  return [
    { path: `${mount}data/${below}`, needed: ['create', 'read', 'update'], example: EXAMPLE },
    { path: `${mount}metadata/${below}`, needed: ['read', 'update', 'delete'], example: EXAMPLE },
  ];
}
