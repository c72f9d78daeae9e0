import { at, one } from './choice.ts';
import { equal } from './equal.ts';
import { declare, isRecorded, withdraw, type Happenings } from './happening.ts';
import { POLICIES } from './policies.ts';
import type { Simulation } from './simulation.ts';

export const ROLES = ['r0', 'r1'];

interface RoleSpec {
  readonly description: string;
  readonly policies: readonly string[];
}
type Role = ReturnType<Simulation['nomad']['acl']['roles']['sorted']>[number];

/** Of a policy that is always there, and mostly one more that comes and goes. */
export function roleSpec(choice: number): RoleSpec {
  const more = choice % 4 === 0 ? [] : [at(POLICIES, choice)];
  return { description: String(choice % 3), policies: ['foreign', ...more] };
}

export const roleHappenings: Happenings = {
  editRole: (s, c) => {
    declare(s, { [`AclRole ${at(ROLES, c)}`]: roleSpec(c >> 4) });
  },
  removeRole: (s, c) => {
    withdraw(s, `AclRole ${at(ROLES, c)}`);
  },
  foreignAclRoleDelete: (s, c) => {
    for (const { ID } of one(rolesOf(s), c)) s.nomad.acl.roles.delete(ID);
  },
  foreignAclRoleEdit: (s, c) => {
    const [role] = one(rolesOf(s), c);
    if (role === undefined || !isRecorded(s, role.Name)) return;
    const edits = [{ Name: `${role.Name}-of-others` }, { Description: 'theirs' }, { Policies: [{ Name: 'foreign' }] }];
    // What is recorded goes by its ID.
    s.nomad.acl.putRole({ ...role, Policies: [{ Name: 'foreign' }], ...at(edits, c >> 8) });
  },
};

/** Every role but that of others. */
function rolesOf(s: Simulation): Role[] {
  return s.nomad.acl.roles.sorted().filter(({ Name }) => Name !== 'foreign');
}

function declared(s: Simulation, name: string): RoleSpec | undefined {
  return s.declaration[`AclRole ${name}`] as RoleSpec | undefined;
}

/** Nomad writes no role of which a policy is not there: such a one waits as it is, or is not there. */
function isWaiting(s: Simulation, { policies }: RoleSpec): boolean {
  return policies.some((name) => !s.nomad.acl.policies.rows.has(name));
}

/** The roles that wait, as they are or are not there. */
export function waitingRoles(s: Simulation): string[] {
  return ROLES.filter((name) => {
    const spec = declared(s, name);
    return spec !== undefined && isWaiting(s, spec);
  });
}

/** Whether a token can't be written, since a role of it is not there, or its resource may not write that. */
export function waitsForRoles(s: Simulation, roles: readonly string[] = []): boolean {
  return roles.some((name) => {
    const spec = declared(s, name);
    return spec === undefined || isWaiting(s, spec);
  });
}

/** The roles that a token is linked to, by their names now; by ID where they are gone. */
export function linksOf(s: Simulation, links: readonly { ID: string }[] | null): string[] {
  return (links ?? []).map(({ ID }) => s.nomad.acl.roles.rows.get(ID)?.Name ?? ID);
}

/** The declared roles, as far as Nomad takes them, and not one more. */
export function checkRoles(s: Simulation): void {
  // One that waits stays with what others did to it.
  const waiting = waitingRoles(s);
  const isSettled = ({ Name }: Role): boolean => !waiting.includes(Name.slice(0, 2));
  equal(
    'roles on Nomad',
    rolesOf(s)
      .filter(isSettled)
      .map(({ Name, Description, Policies }) => [
        Name,
        { description: Description, policies: Policies.map((p) => p.Name) },
      ])
      .sort(),
    ROLES.filter((name) => declared(s, name) !== undefined && !waiting.includes(name)).map((name) => [
      name,
      declared(s, name),
    ]),
  );
}
