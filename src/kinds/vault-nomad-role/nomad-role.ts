import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { Live } from '../../plan/step.ts';
import type { Fields, Value } from '../../plan/value.ts';
import { boolean, fromVault, rulesOf, set, string, toVault } from '../vault-object/mapping.ts';
import { splitRole } from '../vault-object/mount.ts';
import { readEach } from '../vault-object/read-each.ts';
import { onMount, SECRETS_MOUNT } from '../vault-nomad-secrets-engine/secrets-mount.ts';

const roleFields = { policies: set('policies'), type: string('type'), global: boolean('global') };
export const nomadRoleRules = rulesOf(roleFields);

/** A role of a Nomad secrets engine: what tokens it gives out. Its key's name is `mount/role`. */
export const nomadRoleObject: ObjectType = {
  name: SECRETS_MOUNT.role,
  connection: 'VaultServer',
  after: ['acl-policy', SECRETS_MOUNT.name, 'nomad-access'],
  within: ({ connection, name }) => ({ connection, type: SECRETS_MOUNT.name, name: splitRole(name).mount }),
  rules: nomadRoleRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    return readEach(request, async (name) => {
      const fields = await readNomadRole(api, name, signal);
      return fields && { fields };
    });
  },

  create: write,
  update: write,

  async remove(io, { key }) {
    await io.vault(key.connection).delete(path(key.name));
    return undefined;
  },
};

/** @param name `mount/role`. @returns undefined where there is none. @throws TargetError */
export async function readNomadRole(api: VaultApi, name: string, signal?: AbortSignal): Promise<Fields | undefined> {
  const data = await api.read<Record<string, Value>>(path(name), signal);
  return data && fromVault(roleFields, data);
}

/** Every field, the empty ones too: Vault keeps policies that are left out, and refuses them for management tokens. */
async function write(io: Io, { key, fields }: SettledDesired): Promise<Live> {
  const write = io.vault(key.connection).write(path(key.name), toVault(roleFields, fields));
  await onMount(write, splitRole(key.name).mount);
  return { fields };
}

function path(name: string): string {
  const { mount, role } = splitRole(name);
  return `${mount}/role/${encodeURIComponent(role)}`;
}
