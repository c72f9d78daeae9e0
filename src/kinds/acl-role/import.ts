import type { Importer } from '../../contract/import.ts';
import { byLiveName } from '../imported.ts';
import { requireManagement } from '../operator-token.ts';
import { listRoles, liveRole } from './role.ts';

export const aclRoleImporter: Importer = {
  from: 'NomadCluster',

  async find(io, { connection, isMeant }, signal) {
    const api = io.nomad(connection);
    const [{ items }] = await Promise.all([listRoles(api, signal), requireManagement(api, signal)]);
    const found = items
      .filter((role) => isMeant(role.Name))
      .map((role) => {
        const { description, policies } = liveRole(role).fields;
        const spec = { nomadRef: connection, description, policies };
        return { liveName: role.Name, nameField: 'name' as const, spec, notes: [], isShared: true };
      });
    return { found: byLiveName(found), skipped: [] };
  },
};
