import type { Importer } from '../../contract/import.ts';
import { byLiveName } from '../imported.ts';
import { engineName, nomadMounts } from '../vault-nomad-secrets-engine/import.ts';
import { readNomadRole } from './nomad-role.ts';

/** The roles of every Nomad secrets engine; each names its engine by the name that the engine's manifest has. */
export const vaultNomadRoleImporter: Importer = {
  from: 'VaultServer',

  async find(io, { connection, isMeant }, signal) {
    const api = io.vault(connection);
    const mounts = await nomadMounts(api, signal);
    const roles = mounts.map(async (mount) => {
      const names = (await api.list(`${mount}/role`, signal)).filter(isMeant);
      return Promise.all(
        names.map(async (name) => ({ mount, name, fields: await readNomadRole(api, `${mount}/${name}`, signal) })),
      );
    });
    const found = (await Promise.all(roles)).flat().flatMap(({ mount, name, fields }) =>
      fields === undefined
        ? []
        : [
            {
              liveName: name,
              distinction: engineName(mount),
              nameField: 'name' as const,
              spec: { vaultRef: connection, engine: engineName(mount), ...fields },
              notes: [],
            },
          ],
    );
    return { found: byLiveName(found), skipped: [] };
  },
};
