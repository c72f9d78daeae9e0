import { messageOf, TargetError } from '../../contract/errors.ts';
import type { VaultApi } from '../../contract/target.ts';
import { mountObject, type MountKind } from '../vault-object/mount.ts';

/** Nomad secrets engines. What they carry goes with them: the access to Nomad, the roles, and every lease. */
export const SECRETS_MOUNT: MountKind = {
  name: 'secrets-mount',
  noun: 'secrets engine',
  table: 'sys/mounts',
  prefix: '',
  type: 'nomad',
  // Its management token revokes the leases, and goes last.
  after: ['acl-token', 'vault-namespace'],
  role: 'nomad-role',
  leases: countLeases,
  note: (leases) => {
    const count =
      leases === null
        ? 'its leases, and with them'
        : leases === 1
          ? '1 lease and with it'
          : `${String(leases)} leases and with them`;
    return `disabling it revokes ${count} the tokens on Nomad`;
  },
  prepare: revokeLeases,
};

export const secretsMountObject = mountObject(SECRETS_MOUNT);

/** Leases are filed by role: those of roles that are gone, too. @throws TargetError */
async function countLeases(api: VaultApi, path: string, signal?: AbortSignal): Promise<number> {
  const roles = await api.list(`sys/leases/lookup/${path}/creds`, signal);
  const leases = roles.map((role) => api.list(`sys/leases/lookup/${path}/creds/${role.replace(/\/$/, '')}`, signal));
  return (await Promise.all(leases)).reduce((sum, ofRole) => sum + ofRole.length, 0);
}

/**
 * Before the mount is disabled: what can't be revoked would leave it half disabled. Vault ends at the first lease that it can't
 * revoke, and keeps it: Nomad answers 400 for a token that it does not know any more, 403 where it does not know the one that
 * Vault asks with.
 */
async function revokeLeases(api: VaultApi, path: string): Promise<void> {
  const prefix = `${path}/creds`;
  try {
    await api.write(`sys/leases/revoke-prefix/${prefix}`, {});
  } catch (error) {
    if (!(error instanceof TargetError) || error.status !== 400) throw error;
    throw new TargetError(`secrets engine ${path} stays: its leases can't be revoked. ${adviceOn(error, prefix)}`, {
      class: 'dependency',
      status: 400,
      cause: error,
    });
  }
}

function adviceOn(error: TargetError, prefix: string): string {
  const words = messageOf(error);
  if (words.includes('Cannot delete nonexistent tokens'))
    return `Nomad no longer knows the token of one: if it was deleted there, make Vault forget it (vault lease revoke -force -prefix ${prefix}), and delete the engine again. ${words}`;
  if (words.includes('403'))
    return `Nomad does not accept the management token that Vault has: apply the engine once more, so that it gets one, and delete it then; where that can't be, delete the tokens on Nomad by hand and make Vault forget them (vault lease revoke -force -prefix ${prefix}). ${words}`;
  return `See to it that Vault reaches Nomad; what it shall forget without that: vault lease revoke -force -prefix ${prefix}. ${words}`;
}

/**
 * A write to what a mount carries. It was disabled since it was looked at, or half of it: Vault goes on listing a mount whose leases
 * it could not revoke, and has no way to it any more.
 * @throws TargetError that says so.
 */
export async function onMount(write: Promise<void>, path: string): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!(error instanceof TargetError) || error.status !== 404) throw error;
    const words = messageOf(error);
    const half =
      `secrets engine ${path} is half disabled: Vault could not revoke its leases. Make Vault forget them and disable it again, ` +
      `and it is made anew (vault lease revoke -force -prefix ${path}; vault secrets disable ${path}). `;
    const message = words.includes('tainted') ? half + words : words;
    throw new TargetError(message, { class: 'dependency', status: 404, cause: error });
  }
}
