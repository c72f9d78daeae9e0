import type { PlanContext } from '../../contract/kind.ts';
import { isUnreadable, type Desired, type Live, type ObjectKey, type Unreadable } from '../../plan/step.ts';
import { roleKey, roleNamed } from '../acl-role/role.ts';
import { aclTokenObject } from '../nomad-token/token.ts';
import type { AclTokenSpec } from './schema.ts';

/** The roles that a token names. Nomad writes no token whose roles are not all there. */
export function rolesOf(spec: AclTokenSpec): ObjectKey[] {
  return spec.roles.map((name) => roleKey(spec.nomadRef, name));
}

/**
 * The objects of a token whose roles are taken into account.
 * @param derive what the token stands for, from live tokens whose links are as the roles stand now.
 */
export function withRoles(
  spec: AclTokenSpec,
  context: PlanContext,
  derive: (context: PlanContext) => Desired[],
): Desired[] {
  const roles = rolesOf(spec);
  if (roles.length === 0) return derive(context);
  const ids = new Map(roles.map((key) => [key.name, idOf(roleNamed(context, key))]));
  const lacking = roles.filter((key) => ids.get(key.name) === null);
  return derive(linked(context, ids)).map((object) =>
    object.key.type === aclTokenObject.name
      ? { ...object, dependsOn: [...object.dependsOn, ...roles], lacking }
      : object,
  );
}

/** null for a role that is not there; undefined where that is not known. */
type Ids = ReadonlyMap<string, string | null | undefined>;

function idOf(role: Live | Unreadable | undefined): string | null | undefined {
  if (role === undefined) return null;
  return isUnreadable(role) ? undefined : role.id;
}

/** Tokens are linked to roles by ID: a role that was deleted, and maybe made again, is no longer the one that they name. */
function linked(context: PlanContext, ids: Ids): PlanContext {
  const relink = (token: Live): Live => ({ ...token, fields: { ...token.fields, roles: rolesIn(token, ids) } });
  return {
    ...context,
    live: (key) => {
      const live = context.live(key);
      return key.type === aclTokenObject.name && live !== undefined && !isUnreadable(live) ? relink(live) : live;
    },
    liveBy: (connection, type, index) => {
      const found = context.liveBy(connection, type, index);
      return type === aclTokenObject.name ? found.map(relink) : found;
    },
  };
}

function rolesIn({ fields, facts }: Live, ids: Ids): readonly string[] {
  const linkedIds = (facts?.['roleIds'] ?? []) as readonly string[];
  return ((fields['roles'] ?? []) as readonly string[]).map((name, i) => {
    const id = ids.get(name);
    const link = linkedIds[i];
    return id === undefined || link === undefined || id === link ? name : link;
  });
}
