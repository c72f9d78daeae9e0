import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { readEach } from '../vault-object/read-each.ts';

export const vaultPolicyRules: Readonly<Record<string, FieldRule>> = { rules: { compare: 'text' } };

/** A Vault ACL policy. */
export const vaultPolicyObject: ObjectType = {
  name: 'policy',
  connection: 'VaultServer',
  after: ['auth-mount', 'jwt-config', 'vault-namespace'],
  rules: vaultPolicyRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    return readEach(request, (name) => readPolicy(api, name, signal));
  },

  create: write,
  update: write,

  async remove(io, { key }) {
    await io.vault(key.connection).delete(path(key.name));
    return undefined;
  },
};

/** @returns undefined where there is none. @throws TargetError */
export async function readPolicy(api: VaultApi, name: string, signal: AbortSignal): Promise<Live | undefined> {
  const data = await api.read<{ policy: string }>(path(name), signal);
  return data && { fields: { rules: data.policy } };
}

/** Always base64: Vault decodes whatever happens to be valid base64, so a plain text could be mistaken. */
async function write(io: Io, { key, fields }: SettledDesired): Promise<Live> {
  const policy = Buffer.from(stringIn(fields, 'rules')).toString('base64');
  await io.vault(key.connection).write(path(key.name), { policy });
  return { fields };
}

function path(name: string): string {
  return `sys/policies/acl/${encodeURIComponent(name)}`;
}
