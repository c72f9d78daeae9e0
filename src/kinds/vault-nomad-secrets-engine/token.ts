import type { PlanContext } from '../../contract/kind.ts';
import { idOf, type Resource } from '../../contract/resource.ts';
import { readable, type Desired, type Live, type ObjectKey } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { ownerId } from '../nomad-token/marker.ts';
import { matchToken } from '../nomad-token/match.ts';
import { aclTokenObject, tokenFieldRules } from '../nomad-token/token.ts';
import { renamed } from '../renamed.ts';
import type { VaultNomadSecretsEngineSpec } from './schema.ts';

type Base = Omit<Desired, 'key' | 'fields' | 'rules' | 'live' | 'dependsOn'>;

/** The management token that Vault acts by, and those of ours that one stands for from now on. */
export function managementTokens(
  resource: Resource<VaultNomadSecretsEngineSpec>,
  context: PlanContext,
  base: Base,
  mount: ObjectKey,
): [Desired, ...Desired[]] {
  const { nomadRef, path, access } = resource.spec;
  const type = aclTokenObject.name;
  const owner = ownerId(context.owner, idOf(resource));
  const wanted: Fields = { type: 'management', policies: [], roles: [], global: access.global, expirationTtl: null };
  const owned = context.ownedBy(resource).filter((o) => o.key.type === type);
  const tokenOf = (accessorId: string): Live | undefined =>
    readable(context.live({ connection: nomadRef, type, name: accessorId }));
  const match = matchToken(owner, path, wanted, context.liveBy(nomadRef, type, owner), tokenOf, owned);
  const key = { connection: nomadRef, type, name: match.name };
  const detail = { neededBy: { ...mount } };
  const taken = match.taken.map((live): Desired => ({
    ...base,
    key: { ...key, name: stringIn(live.fields, 'name') },
    fields: live.fields,
    rules: tokenFieldRules,
    live,
    dependsOn: [],
    detail,
  }));
  const message =
    match.is === 'conflict'
      ? `token ${match.live.id ?? ''} carries the marker of this resource (${stringIn(match.live.fields, 'name')}), but the inventory does not know it and it is no management token: delete it on Nomad`
      : undefined;
  const token: Desired = {
    ...base,
    key,
    fields: { ...wanted, name: match.name },
    rules: tokenFieldRules,
    live: context.failure(key.connection, key.type) ?? ('live' in match ? match.live : undefined),
    dependsOn: [mount, ...taken.map((t) => t.key)],
    detail,
    ...(match.is === 'replaced' && { replaces: { key: { ...key, name: match.old.name }, live: match.old.live } }),
    ...(message !== undefined && { verdict: { action: 'refuse', reason: 'Conflict', message } }),
    ...renamed(resource, context, key, 'spec.nomadRef', () => true),
  };
  return [token, ...taken];
}
