import { messageOf, TargetError } from '../../contract/errors.ts';
import type { ObjectType } from '../../contract/kind.ts';
import type { VaultApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live, ObjectKey } from '../../plan/step.ts';

/** What a path carries can't be changed in place, and disabling it revokes what was given out through it. */
export const mountRules: Readonly<Record<string, FieldRule>> = {
  path: { compare: 'exact', onChange: 'refuse' },
};

/** What tells one kind of mounts from another. */
export interface MountKind {
  /** The type of object: `auth-mount`. */
  readonly name: string;
  /** What people call it: `auth mount`. */
  readonly noun: string;
  /** Where Vault lists, enables and disables them: `sys/auth`. */
  readonly table: string;
  /** What stands before a mount's path in requests to it: `auth/`, or nothing. */
  readonly prefix: string;
  /** The plugin: `jwt`. */
  readonly type: string;
  readonly after: readonly string[];
  /** The type of the objects that are its roles. */
  readonly role: string;
  /** @returns how many leases a deletion revokes. @throws TargetError */
  leases(api: VaultApi, path: string, signal?: AbortSignal): Promise<number>;
  /** What a deletion does, for the plan's line. @param leases null where they could not be counted. */
  note(leases: number | null): string;
  /** What must be done before it can be disabled. @throws TargetError, where it must stay */
  prepare?(api: VaultApi, path: string): Promise<void>;
}

interface Mount {
  readonly type: string;
  readonly accessor: string;
}

/** Every mount of a table, by its path with a slash at the end. @throws TargetError */
export async function readMounts(
  api: VaultApi,
  table: string,
  signal?: AbortSignal,
): Promise<Readonly<Record<string, Mount>>> {
  return (await api.read<Record<string, Mount>>(table, signal)) ?? {};
}

/** What stands at a mount's path, in the words of the plan. */
export function mountOf({ noun }: MountKind, type: string): string {
  return `${noun} of type ${type}`;
}

/** The key of a role: its name is `mount/role`. */
export function roleKey({ role }: MountKind, connection: string, path: string, name: string): ObjectKey {
  return { connection, type: role, name: `${path}/${name}` };
}

/** A mount's path may have slashes of its own; a role's name has none. */
export function splitRole(name: string): { mount: string; role: string } {
  const slash = name.lastIndexOf('/');
  return { mount: name.slice(0, slash), role: name.slice(slash + 1) };
}

/** A mount with roles; its key's name is the path. `id` is the accessor, which every mount gets anew. */
export function mountObject(kind: MountKind): ObjectType {
  return {
    name: kind.name,
    connection: 'VaultServer',
    after: kind.after,
    rules: mountRules,

    async read(io, request, signal) {
      const api = io.vault(request.connection);
      const mounts = await readMounts(api, kind.table, signal);
      const declared = new Set(request.desired.map((d) => d.key.name));
      const names = new Set([...declared, ...request.owned.map((o) => o.key.name)]);
      const found = new Map<string, Live>();
      for (const name of names) {
        const mount = mounts[`${name}/`];
        if (mount !== undefined) found.set(name, await liveMount(kind, api, name, mount, !declared.has(name), signal));
      }
      return { objects: found };
    },

    async create(io, { key }) {
      const api = io.vault(key.connection);
      // Without `options: null` Vault stores an empty map, and the mount differs from the one `nomad setup vault` makes.
      await api.write(`${kind.table}/${key.name}`, { type: kind.type, options: null }).catch(lookAgainWhereInUse);
      const mount = (await readMounts(api, kind.table))[`${key.name}/`];
      if (mount === undefined)
        throw new TargetError(`${kind.noun} ${key.name} vanished after it was enabled`, { class: 'transient' });
      return liveMount(kind, api, key.name, mount, false);
    },

    /** Looks again right before: what somebody put on the mount since the plan was made must not go with it. */
    async remove(io, { key }) {
      const api = io.vault(key.connection);
      const roles = await listRoles(kind, api, key.name);
      // Those of ours may be on their way out by themselves.
      if (roles.length > 0) throw new TargetError(carries(kind, key.name, roles), { class: 'dependency' });
      await kind.prepare?.(api, key.name);
      await api.delete(`${kind.table}/${key.name}`);
      return undefined;
    },

    retain(key, live, isOurs) {
      const foreign = rolesOf(live).filter((role) => !isOurs(roleKey(kind, key.connection, key.name, role)));
      return foreign.length > 0 ? carriesForeign(kind, key.name, foreign) : undefined;
    },

    deletionNote(live) {
      const leases = live.facts?.['leases'];
      return kind.note(typeof leases === 'number' ? leases : null);
    },
  };
}

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

function listRoles(
  { prefix }: MountKind,
  api: VaultApi,
  path: string,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  return api.list(`${prefix}${path}/role`, signal);
}

function carriesForeign({ noun }: MountKind, path: string, roles: readonly string[]): string {
  return `${noun} ${path} stays: it carries roles that are not ours (${roles.join(', ')}); delete them first`;
}

function carries({ noun }: MountKind, path: string, roles: readonly string[]): string {
  return `${noun} ${path} stays as long as it carries roles (${roles.join(', ')}): delete them first`;
}

function rolesOf(live: Live): string[] {
  const roles = live.facts?.['roles'];
  return Array.isArray(roles) ? roles.map(String) : [];
}

async function liveMount(
  kind: MountKind,
  api: VaultApi,
  path: string,
  mount: Mount,
  doomed: boolean,
  signal?: AbortSignal,
): Promise<Live> {
  const roles = mount.type === kind.type ? await listRoles(kind, api, path, signal) : [];
  const leases = doomed ? await countLeases(kind, api, path, signal) : null;
  return { id: mount.accessor, fields: { path: mountOf(kind, mount.type) }, facts: { roles, leases } };
}

/** Only for the line that announces a deletion; without the right to see leases it says no number. */
async function countLeases(kind: MountKind, api: VaultApi, path: string, signal?: AbortSignal): Promise<number | null> {
  try {
    return await kind.leases(api, path, signal);
  } catch (error) {
    if (error instanceof TargetError && error.class !== 'transient') return null;
    throw new TargetError(`cannot count the leases of ${kind.noun} ${path}: ${messageOf(error)}`, {
      class: 'transient',
      cause: error,
    });
  }
}
