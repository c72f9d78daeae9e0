import { manifestNameOf, type Importable, type Importer, type ImportRequest } from '../../contract/import.ts';
import type { Live } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { byLiveName } from '../imported.ts';
import { markerOf, ownerId, unmarked } from '../marked/marker.ts';
import { requireManagement } from '../operator-token.ts';
import { fetchRule, listRules } from './rule.ts';

const ANOTHER =
  'it carries the marker of a resource of another name, namespace or installation, which has a manifest of its own';

/** Rules have no name: they go by what they bind. Those that carry our marker become what made them, all others are named by their IDs. */
export const aclBindingRuleImporter: Importer = {
  from: 'NomadCluster',

  async find(io, request, signal) {
    const api = io.nomad(request.connection);
    const [{ items }] = await Promise.all([listRules(api, signal), requireManagement(api, signal)]);
    const read = await Promise.all(items.map(({ ID }) => fetchRule(api, ID, signal)));
    const meant = read.filter((live) => live !== undefined).filter((live) => request.isMeant(nameOf(live)));
    const rules = meant.map((live) => ({ live, importable: importable(live, request) }));
    return {
      found: byLiveName(rules.flatMap((rule) => rule.importable ?? [])),
      skipped: rules
        .filter((rule) => rule.importable === undefined)
        .map(({ live }) => ({ liveName: `${nameOf(live)} (${live.id ?? ''})`, why: ANOTHER })),
    };
  },
};

/** `sso-operators`, `sso-team-name`: the method, and what it binds, with the claims in it by their names. */
function nameOf({ fields }: Live): string {
  const bound = stringIn(fields, 'bindName') || stringIn(fields, 'bindType');
  return `${stringIn(fields, 'authMethod')}-${bound.replace(/\$\{value\.([^}]*)\}/g, '$1')}`;
}

/** @returns undefined where another resource made it. */
function importable(live: Live, request: ImportRequest): Importable | undefined {
  const { description: text, bindName, ...rest } = live.fields;
  const description = typeof text === 'string' ? text : '';
  const base = { liveName: nameOf(live), distinction: (live.id ?? '').slice(0, 8), notes: [], isShared: true };
  const spec = { nomadRef: request.connection, ...rest, ...(bindName !== '' && { bindName }) };
  const marker = markerOf(description);
  if (marker === undefined) return { ...base, spec: { id: live.id, ...spec, description } };
  const own = unmarked(description);
  const name = [manifestNameOf(base.liveName), manifestNameOf(own)].find(
    (candidate) =>
      ownerId(request.owner, { kind: 'AclBindingRule', namespace: request.namespace, name: candidate }) ===
      marker.owner,
  );
  return name === undefined ? undefined : { ...base, metadataName: name, spec: { ...spec, description: own } };
}
