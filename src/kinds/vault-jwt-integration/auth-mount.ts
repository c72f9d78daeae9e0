import { messageOf, TargetError } from '../../contract/errors.ts';
import type { ObjectType } from '../../contract/kind.ts';
import type { VaultApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live, ObjectKey } from '../../plan/step.ts';

/** What a path carries can't be changed in place, and disabling it would revoke the tokens of every running task. */
export const authMountRules: Readonly<Record<string, FieldRule>> = {
  path: { compare: 'exact', onChange: 'refuse' },
};

/** What stands at a mount's path, in the words of the plan. */
export function mountOf(type: string): string {
  return `auth mount of type ${type}`;
}

interface Mount {
  readonly type: string;
  readonly accessor: string;
}

/** Every auth mount, by its path with a slash at the end. @throws TargetError */
export async function readAuthMounts(api: VaultApi, signal?: AbortSignal): Promise<Readonly<Record<string, Mount>>> {
  return (await api.read<Record<string, Mount>>('sys/auth', signal)) ?? {};
}

/** A JWT auth mount; its key's name is the path. `id` is the accessor, which every mount gets anew. */
export const authMountObject: ObjectType = {
  name: 'auth-mount',
  connection: 'VaultServer',
  after: [],
  rules: authMountRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    const mounts = await readAuthMounts(api, signal);
    const declared = new Set(request.desired.map((d) => d.key.name));
    const names = new Set([...declared, ...request.owned.map((o) => o.key.name)]);
    const found = new Map<string, Live>();
    for (const name of names) {
      const mount = mounts[`${name}/`];
      if (mount !== undefined) found.set(name, await liveMount(api, name, mount, !declared.has(name), signal));
    }
    return { objects: found };
  },

  async create(io, { key }) {
    const api = io.vault(key.connection);
    // Without `options: null` Vault stores an empty map, and the mount differs from the one `nomad setup vault` makes.
    await api.write(`sys/auth/${key.name}`, { type: 'jwt', options: null }).catch(lookAgainWhereInUse);
    const mount = (await readAuthMounts(api))[`${key.name}/`];
    if (mount === undefined)
      throw new TargetError(`auth mount ${key.name} vanished after it was enabled`, { class: 'transient' });
    return liveMount(api, key.name, mount, false);
  },

  /** Looks again right before: what somebody put on the mount since the plan was made must not go with it. */
  async remove(io, { key }) {
    const api = io.vault(key.connection);
    const roles = await api.list(`auth/${key.name}/role`);
    if (roles.length > 0) throw new TargetError(carries(key.name, roles), { class: 'terminal' });
    await api.delete(`sys/auth/${key.name}`);
    return undefined;
  },

  retain(key, live, isOurs) {
    const foreign = rolesOf(live).filter((role) => !isOurs(roleKey(key.connection, key.name, role)));
    return foreign.length > 0 ? carries(key.name, foreign) : undefined;
  },

  deletionNote(live) {
    const leases = live.facts?.['leases'];
    const count = typeof leases !== 'number' ? 'the tokens' : leases === 1 ? '1 token' : `${String(leases)} tokens`;
    return `disabling the mount revokes ${count} of the tasks that are logged in through it`;
  },
};

/**
 * Vault refuses to enable a mount twice, and after a lost reply the first time may have been ours: a transient error
 * makes the engine look again and decide by what it finds.
 */
function lookAgainWhereInUse(error: unknown): never {
  if (error instanceof TargetError && error.status === 400 && error.message.includes('path is already in use')) {
    throw new TargetError(error.message, { class: 'transient', status: 400 });
  }
  throw error;
}

export function roleKey(connection: string, path: string, role: string): ObjectKey {
  return { connection, type: 'jwt-role', name: `${path}/${role}` };
}

function carries(path: string, roles: readonly string[]): string {
  return `auth mount ${path} stays: it carries roles that are not ours (${roles.join(', ')}); delete them first`;
}

function rolesOf(live: Live): string[] {
  const roles = live.facts?.['roles'];
  return Array.isArray(roles) ? roles.map(String) : [];
}

async function liveMount(
  api: VaultApi,
  path: string,
  mount: Mount,
  doomed: boolean,
  signal?: AbortSignal,
): Promise<Live> {
  const roles = mount.type === 'jwt' ? await api.list(`auth/${path}/role`, signal) : [];
  const leases = doomed ? await countLeases(api, path, signal) : null;
  return { id: mount.accessor, fields: { path: mountOf(mount.type) }, facts: { roles, leases } };
}

/** Only for the line that announces a deletion; without the right to see leases it says no number. */
async function countLeases(api: VaultApi, path: string, signal?: AbortSignal): Promise<number | null> {
  try {
    return (await api.list(`sys/leases/lookup/auth/${path}/login`, signal)).length;
  } catch (error) {
    if (error instanceof TargetError && error.class !== 'transient') return null;
    throw new TargetError(`cannot count the leases of auth mount ${path}: ${messageOf(error)}`, {
      class: 'transient',
      cause: error,
    });
  }
}
