import { randomUUID } from 'node:crypto';
import type { Policy } from './acl.ts';
import { invalidObject, NomadError } from './errors.ts';
import { hashOf } from './hash.ts';
import { NAME, type Indexed, type Table } from './store.ts';

export interface Role extends Indexed {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Policies: readonly { readonly Name: string }[];
  readonly Hash: string;
}

/** Creates a role, or replaces the one whose ID the body names. An equal write changes nothing. */
export function putRole(roles: Table<Role>, policies: Table<Policy>, body: Partial<Role>): Role {
  const { ID = '', Name = '', Description = '' } = body;
  const names = [...new Set((body.Policies ?? []).map((p) => p.Name))];
  invalidObject('role 0 invalid:', [
    !NAME.test(Name) && `invalid name '${Name}'`,
    Buffer.byteLength(Description) > 256 && 'description longer than 256',
    names.length === 0 && 'at least one policy should be specified',
  ]);
  const taken = [...roles.rows.values()].find((r) => r.Name === Name);
  if (ID === '' && taken !== undefined) throw new NomadError(400, `role with name ${Name} already exists`);
  if (ID !== '' && !roles.rows.has(ID)) throw new NomadError(400, `cannot find role ${ID}`);
  const missing = names.find((name) => !policies.rows.has(name));
  if (missing !== undefined) throw new NomadError(400, `cannot find policy ${missing}`);
  if (taken !== undefined && taken.ID !== ID) throw new NomadError(500, `ACL role with name ${Name} already exists`);
  const id = ID === '' ? randomUUID() : ID;
  return roles.putChanged(id, {
    ID: id,
    Name,
    Description,
    Policies: names.map((name) => ({ Name: name })),
    Hash: hashOf([Name, Description, ...names]),
  });
}
