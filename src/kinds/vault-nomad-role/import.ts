import type { Importer } from '../../contract/import.ts';
import { byLiveName } from '../imported.ts';
import { nomadMounts } from '../vault-nomad-secrets-engine/import.ts';
import { readNomadRole } from './nomad-role.ts';

/** The roles of every Nomad secrets engine; each names its engine by the name that the engine's manifest has. */
export const vaultNomadRoleImporter: Importer = {
  from: 'VaultServer',

  async find(io, { connection, isMeant, qualifier }, signal) {
    const api = io.vault(connection);
    const mounts = await nomadMounts(api, { qualifier }, signal);
    const roles = [...mounts].map(async ([mount, engine]) => {
      const names = (await api.list(`${mount}/role`, signal)).filter(isMeant);
      return Promise.all(
        names.map(async (name) => ({ engine, name, fields: await readNomadRole(api, `${mount}/${name}`, signal) })),
      );
    });
    const found = (await Promise.all(roles)).flat().flatMap(({ engine, name, fields }) =>
      fields === undefined
        ? []
        : [
            {
              liveName: name,
              distinction: engine,
              nameField: 'name' as const,
              spec: { vaultRef: connection, engine, ...fields },
              notes: [],
            },
          ],
    );
    return { found: byLiveName(found), skipped: [] };
  },
};
