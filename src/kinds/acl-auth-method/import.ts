import { unlike, type Importable, type Importer, type ImportRequest } from '../../contract/import.ts';
import type { Live } from '../../plan/step.ts';
import { byLiveName, secretVariable } from '../imported.ts';
import { requireManagement } from '../operator-token.ts';
import { declaration, secretFieldsOf } from './fields.ts';
import { fetchMethod, listMethods } from './method.ts';

/** A secret is never read back: where it stands can only be guessed, and it is written once more when it is there. */
export const aclAuthMethodImporter: Importer = {
  from: 'NomadCluster',

  async find(io, request, signal) {
    const api = io.nomad(request.connection);
    const [{ items }] = await Promise.all([listMethods(api, signal), requireManagement(api, signal)]);
    const names = inVariables(items.map((stub) => stub.Name));
    const read = [...names]
      .filter(([name]) => request.isMeant(name))
      .map(async ([name, inVariable]) => {
        const live = await fetchMethod(api, name, signal);
        return live && importable(name, inVariable, live, request);
      });
    const found = (await Promise.all(read)).filter((method) => method !== undefined);
    return { found: byLiveName(found), skipped: [] };
  },
};

/** Names of methods as the names of variables have them: there, what differs in its case alone is told apart by a number. */
function inVariables(names: readonly string[]): ReadonlyMap<string, string> {
  const all = new Map<string, string>();
  for (const name of [...names].sort()) all.set(name, unlike(name.toLowerCase(), new Set(all.values())));
  return all;
}

function importable(
  liveName: string,
  inVariable: string,
  { fields }: Live,
  { connection, qualifier }: ImportRequest,
): Importable {
  const variable = (path: string): string => secretVariable(qualifier, inVariable, path.split('.').at(-1));
  const secrets = secretFieldsOf(fields);
  const spec = { nomadRef: connection, ...declaration(fields, (path) => ({ env: variable(path) })) };
  return {
    liveName,
    nameField: 'name',
    isShared: true,
    spec,
    notes: secrets.map((path) => `Nomad does not tell spec.${path}: set ${variable(path)}, or name another place.`),
  };
}
