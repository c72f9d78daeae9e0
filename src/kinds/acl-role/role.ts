import type { ObjectType, PlanContext } from '../../contract/kind.ts';
import type { NomadApi, NomadList } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live, ObjectKey, Unreadable } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { madeUnnoticed } from '../marked/match.ts';
import { requireManagement } from '../operator-token.ts';
import { explained, type Refusals } from '../refusal.ts';
import { arrived, removed } from '../replication.ts';

/** How the fields of a role are compared. */
export const roleFieldRules: Readonly<Record<string, FieldRule>> = {
  name: { compare: 'exact' },
  description: { compare: 'exact' },
  policies: { compare: 'set' },
};

/** A role as Nomad lists it: all of it. */
interface Role {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Policies: readonly { readonly Name: string }[] | null;
  readonly Hash: string;
  readonly ModifyIndex: number;
}

const keyName = (live: Live): string => stringIn(live.fields, 'name');
const LIST = '/v1/acl/roles';

/** A Nomad ACL role. Live objects are kept by ID, under which Nomad's events tell of them, and are found by name. */
export const aclRoleObject: ObjectType = {
  name: 'acl-role',
  connection: 'NomadCluster',
  after: ['acl-policy'],
  rules: roleFieldRules,

  /** One list, which is complete, and one look at who we are. */
  async read(io, request, signal) {
    const api = io.nomad(request.connection);
    const [{ items, index }] = await Promise.all([listRoles(api, signal), requireManagement(api, signal)]);
    const names = new Set([...request.desired.map((d) => d.key), ...(request.observed ?? [])].map((key) => key.name));
    const ids = new Set(request.owned.map((o) => o.id));
    for (const { id, key } of request.owned) if (id === undefined) names.add(key.name);
    const meant = items.filter(({ ID, Name }) => names.has(Name) || ids.has(ID));
    return { objects: new Map(meant.map((role) => [role.ID, liveRole(role)])), index };
  },

  watch: {
    topic: 'ACLRole',
    list: LIST,
    live: (payload) => liveRole((payload as { ACLRole: Role }).ACLRole),
  },

  /** The ID is Nomad's to give: a second try after a lost reply is refused, as a role of that name exists by then. */
  async create(io, { key, fields }) {
    const api = io.nomad(key.connection);
    return here(api, (await explained(api.post<Role>('/v1/acl/role', bodyOf(fields)), REFUSALS)).body);
  },

  /** The write replaces the whole role. */
  async update(io, { key, fields }, live) {
    const id = live.id ?? '';
    const api = io.nomad(key.connection);
    const reply = api.put<Role>(path(id), { ID: id, ...bodyOf(fields) });
    return here(api, (await explained(reply, REFUSALS)).body);
  },

  async remove(io, { key, live }) {
    return removed(io.nomad(key.connection), path(live.id ?? ''));
  },

  identify: (live) => live.id ?? '',
  keyName,
  index: keyName,
  find: (owned, live) =>
    owned.id === undefined ? madeUnnoticed({ rules: roleFieldRules, keyName }, owned, live) : live.get(owned.id),
};

function here(api: NomadApi, role: Role): Promise<Live> {
  return arrived(api, path(role.ID), liveRole(role), roleFieldRules, liveRole);
}

/** Every role. @throws TargetError */
export function listRoles(api: NomadApi, signal: AbortSignal): Promise<NomadList<Role>> {
  return api.list<Role>(LIST, {}, signal);
}

export function roleKey(connection: string, name: string): ObjectKey {
  return { connection, type: aclRoleObject.name, name };
}

/** The role that has that name now. */
export function roleNamed(context: PlanContext, { connection, type, name }: ObjectKey): Live | Unreadable | undefined {
  return context.failure(connection, type) ?? context.liveBy(connection, type, name)[0];
}

export function liveRole(role: Role): Live {
  return {
    id: role.ID,
    fields: {
      name: role.Name,
      description: role.Description,
      policies: (role.Policies ?? []).map((policy) => policy.Name),
    },
    index: role.ModifyIndex,
    facts: { hash: role.Hash },
  };
}

function bodyOf(fields: Fields): Record<string, unknown> {
  return {
    Name: fields['name'],
    Description: fields['description'],
    Policies: (fields['policies'] as readonly string[]).map((name) => ({ Name: name })),
  };
}

/** A policy is not there; another role has the name, or ours of which the reply was lost (400, at a renaming 500): a look tells. */
const REFUSALS: Refusals = [
  [/ cannot find policy /, 'dependency'],
  [/ already exists$/, 'transient'],
];

function path(id: string): string {
  return `/v1/acl/role/${encodeURIComponent(id)}`;
}
