import type { Importer, Skipped } from '../../contract/import.ts';
import { byLiveName } from '../imported.ts';
import { requireManagement } from '../operator-token.ts';
import { fetchPolicy, listPolicies } from './policy.ts';

const ANONYMOUS = 'it governs every request without a token: declare it by hand, with grants.anonymousPolicy';

export const aclPolicyImporter: Importer = {
  from: 'NomadCluster',

  async find(io, { connection, isMeant }, signal) {
    const api = io.nomad(connection);
    const [{ items }] = await Promise.all([listPolicies(api, signal), requireManagement(api, signal)]);
    const meant = items.map((stub) => stub.Name).filter(isMeant);
    const skipped: Skipped[] = meant
      .filter((name) => name === 'anonymous')
      .map((liveName) => ({ liveName, why: ANONYMOUS }));
    const read = meant
      .filter((name) => name !== 'anonymous')
      .map(async (liveName) => {
        const live = await fetchPolicy(api, liveName, signal);
        const spec = live && specOf(connection, live.fields);
        return spec && { liveName, nameField: 'name' as const, spec, notes: [], isShared: true };
      });
    const found = (await Promise.all(read)).filter((policy) => policy !== undefined);
    return { found: byLiveName(found), skipped };
  },
};

function specOf(nomadRef: string, fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const association = ['namespace', 'jobId', 'group', 'task'].flatMap((part) => {
    const value = fields[`jobAcl.${part}`];
    return value === '' ? [] : [[part, value] as const];
  });
  return {
    nomadRef,
    description: fields['description'],
    ...(association.length > 0 && { jobAcl: Object.fromEntries(association) }),
    rules: fields['rules'],
  };
}
