import { mountObject, type MountKind } from '../vault-object/mount.ts';

/** JWT auth mounts. Disabling one revokes the tokens of every running task. */
export const AUTH_MOUNT: MountKind = {
  name: 'auth-mount',
  noun: 'auth mount',
  table: 'sys/auth',
  prefix: 'auth/',
  type: 'jwt',
  after: ['vault-namespace'],
  role: 'jwt-role',
  leases: async (api, path, signal) => (await api.list(`sys/leases/lookup/auth/${path}/login`, signal)).length,
  note: (leases) => {
    const count = leases === null ? 'the tokens' : leases === 1 ? '1 token' : `${String(leases)} tokens`;
    return `disabling the mount revokes ${count} of the tasks that are logged in through it`;
  },
};

export const authMountObject = mountObject(AUTH_MOUNT);
