import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { Live } from '../../plan/step.ts';
import type { Fields, Value } from '../../plan/value.ts';
import { fromVault, integer, rulesOf, toVault } from '../vault-object/mapping.ts';
import { readEach } from '../vault-object/read-each.ts';
import { onMount, SECRETS_MOUNT } from './secrets-mount.ts';

const leaseFields = { 'lease.ttl': integer('ttl'), 'lease.maxTtl': integer('max_ttl') };
export const nomadLeaseRules = rulesOf(leaseFields);

/** How long the leases of a Nomad secrets engine live, in seconds; its key's name is the mount's path. A write replaces both. */
export const nomadLeaseObject: ObjectType = {
  name: 'nomad-lease',
  connection: 'VaultServer',
  after: [SECRETS_MOUNT.name],
  rules: nomadLeaseRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    return readEach(request, async (path) => {
      const fields = await readLease(api, path, signal);
      return fields && { fields };
    });
  },

  create: write,
  update: write,

  partOf: ({ connection, name }) => ({ connection, type: SECRETS_MOUNT.name, name }),
};

/** In seconds. @returns undefined where nothing was written yet. @throws TargetError */
export async function readLease(api: VaultApi, path: string, signal?: AbortSignal): Promise<Fields | undefined> {
  const data = await api.read<Record<string, Value>>(`${path}/config/lease`, signal);
  return data && fromVault(leaseFields, data);
}

async function write(io: Io, { key, fields }: SettledDesired): Promise<Live> {
  const write = io.vault(key.connection).write(`${key.name}/config/lease`, toVault(leaseFields, fields));
  await onMount(write, key.name);
  return { fields };
}
