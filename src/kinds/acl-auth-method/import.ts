import type { Importable, Importer } from '../../contract/import.ts';
import type { Live } from '../../plan/step.ts';
import { byLiveName } from '../imported.ts';
import { requireManagement } from '../operator-token.ts';
import { declaration, secretFieldsOf } from './fields.ts';
import { fetchMethod, listMethods } from './method.ts';

/** A secret is never read back: where it stands can only be guessed, and it is written once more when it is there. */
export const aclAuthMethodImporter: Importer = {
  from: 'NomadCluster',

  async find(io, { connection, isMeant }, signal) {
    const api = io.nomad(connection);
    const [{ items }] = await Promise.all([listMethods(api, signal), requireManagement(api, signal)]);
    const read = items
      .map((stub) => stub.Name)
      .filter(isMeant)
      .map(async (name) => {
        const live = await fetchMethod(api, name, signal);
        return live && importable(name, live, connection);
      });
    const found = (await Promise.all(read)).filter((method) => method !== undefined);
    return { found: byLiveName(found), skipped: [] };
  },
};

function importable(liveName: string, { fields }: Live, nomadRef: string): Importable {
  const variable = (path: string): string =>
    `NOMAD_ACCESS_SECRET_${[liveName, path.split('.').at(-1) ?? ''].join('_').toUpperCase().replaceAll('-', '_')}`;
  const secrets = secretFieldsOf(fields);
  const spec = { nomadRef, ...declaration(fields, (path) => ({ env: variable(path) })) };
  return {
    liveName,
    nameField: 'name',
    spec,
    notes: secrets.map((path) => `Nomad does not tell spec.${path}: set ${variable(path)}, or name another place.`),
  };
}
