import { randomUUID } from 'node:crypto';
import { shownMethod, type AuthMethod } from './auth-methods.ts';
import type { BindingRule } from './binding-rules.ts';
import { durationOf, goDuration } from './duration.ts';
import { NomadError } from './errors.ts';
import { hashOf } from './hash.ts';
import { putRole, type Role } from './roles.ts';
import { checkRules } from './rules.ts';
import { NAME, Table, type Indexed, type Store } from './store.ts';

export interface JobAcl {
  readonly Namespace: string;
  readonly JobID: string;
  readonly Group: string;
  readonly Task: string;
}
export interface Policy extends Indexed {
  readonly Name: string;
  readonly Description: string;
  readonly Rules: string;
  readonly JobACL: JobAcl | null;
  readonly Hash: string;
}
export interface RoleLink {
  readonly ID: string;
  readonly Name: string;
}
export interface Token extends Indexed {
  readonly AccessorID: string;
  readonly SecretID: string;
  readonly Name: string;
  readonly Type: string;
  readonly Policies: readonly string[] | null;
  readonly Roles: readonly RoleLink[] | null;
  readonly Global: boolean;
  readonly Hash: string;
  readonly CreateTime: string;
  readonly ExpirationTime: string | null;
  readonly ExpirationTTL: string;
}

const MINUTE = 60_000;
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** token_min_expiration_ttl and token_max_expiration_ttl; milliseconds. */
const TTL = { min: MINUTE, max: 24 * 60 * MINUTE };

const bytes = (text: string): number => Buffer.byteLength(text);

/** Nomad's ACL objects: what may be written, and what then reads back. */
export class Acl {
  readonly policies: Table<Policy>;
  readonly tokens: Table<Token>;
  readonly roles: Table<Role>;
  readonly authMethods: Table<AuthMethod>;
  readonly bindingRules: Table<BindingRule>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Index at which ACLs were bootstrapped. */
  #bootstrapped: number | undefined;

  constructor(store: Store, now: () => number) {
    this.now = now;
    this.policies = new Table<Policy>(store, 'ACLPolicy', (row) => ({ ACLPolicy: row }));
    this.tokens = new Table<Token>(store, 'ACLToken', ({ Policies, Roles, ...row }) => ({
      ACLToken: { ...row, SecretID: '', Policies: Policies ?? [], Roles: Roles ?? [] },
    }));
    this.roles = new Table<Role>(
      store,
      'ACLRole',
      (row) => ({ ACLRole: row }),
      ({ Name }) => [Name],
    );
    this.authMethods = new Table<AuthMethod>(store, 'ACLAuthMethod', (row) => ({ AuthMethod: shownMethod(row) }));
    this.bindingRules = new Table<BindingRule>(
      store,
      'ACLBindingRule',
      (row) => ({ ACLBindingRule: row }),
      ({ AuthMethod: method }) => [method],
    );
  }

  /** A full replacement: what is omitted is cleared. An equal write takes a new index too. */
  putPolicy(name: string, body: Partial<Policy>): void {
    const Description = body.Description ?? '';
    const Rules = body.Rules ?? '';
    if (!NAME.test(name))
      throw new NomadError(400, `policy 0 invalid: 1 error occurred:\n\t* invalid name '${name}'\n\n`);
    if (bytes(Description) > 256)
      throw new NomadError(400, 'policy 0 invalid: 1 error occurred:\n\t* description longer than 256\n\n');
    checkRules(Rules);
    const JobACL = jobAclOf(body.JobACL);
    const association = JobACL === null ? [] : [JobACL.Namespace, JobACL.JobID, JobACL.Group, JobACL.Task];
    this.policies.put(name, {
      Name: name,
      Description,
      Rules,
      JobACL,
      Hash: hashOf([name, Description, Rules, ...association]),
    });
  }

  /** Creates a token, or updates the one that the body names. */
  putToken(body: Partial<Omit<Token, 'Roles'>> & { Roles?: readonly Partial<RoleLink>[] | null }): Token {
    const AccessorID = body.AccessorID ?? '';
    const existing = this.tokens.rows.get(AccessorID);
    if (AccessorID !== '' && existing === undefined)
      throw new NomadError(400, `token 0 invalid: cannot find token ${AccessorID}`);
    const Name = body.Name ?? '';
    const Type = body.Type ?? '';
    const Policies = body.Policies ?? null;
    const Roles = this.#resolve(body.Roles ?? null);
    if (bytes(Name) > 256) throw invalidToken('token name too long');
    if (Type !== 'client' && Type !== 'management') throw invalidToken('token type must be client or management');
    if (Type === 'client' && !Policies?.length && !Roles?.length)
      throw invalidToken('client token missing policies or roles');
    if (Type === 'management' && (Policies?.length || Roles?.length)) {
      throw invalidToken('management token cannot be associated with policies or roles');
    }
    const Global = body.Global ?? false;
    const Hash = hashOf([
      Name,
      Type,
      ...(Policies ?? []),
      Global ? 'global' : 'local',
      ...(Roles ?? []).map((r) => r.ID),
    ]);
    const changed = { Name, Type, Policies, Roles, Hash };
    return existing === undefined ? this.#create(changed, Global, body) : this.#update(existing, changed, Global, body);
  }

  #create(
    fields: Pick<Token, 'Name' | 'Type' | 'Policies' | 'Roles' | 'Hash'>,
    Global: boolean,
    body: Partial<Omit<Token, 'Roles'>>,
  ): Token {
    const ttl = durationOf(body.ExpirationTTL);
    if (ttl !== 0 && ttl < TTL.min) throw invalidToken('expiration time cannot be less than 1m0s in the future');
    if (ttl > TTL.max) throw invalidToken('expiration time cannot be more than 24h0m0s in the future');
    const now = this.now();
    const AccessorID = randomUUID();
    return this.tokens.put(AccessorID, {
      AccessorID,
      SecretID: randomUUID(),
      ...fields,
      Global,
      CreateTime: new Date(now).toISOString(),
      ExpirationTime: ttl === 0 ? null : new Date(now + ttl).toISOString(),
      ExpirationTTL: ttl === 0 ? '' : goDuration(ttl),
    });
  }

  /** Keeps the secret and the creation time; everything else is what the body says, an omitted expiration included. */
  #update(
    existing: Token,
    fields: Pick<Token, 'Name' | 'Type' | 'Policies' | 'Roles' | 'Hash'>,
    Global: boolean,
    body: Partial<Omit<Token, 'Roles'>>,
  ): Token {
    if (Global !== existing.Global) throw invalidToken('cannot toggle global mode');
    if (durationOf(body.ExpirationTTL) !== durationOf(existing.ExpirationTTL))
      throw invalidToken('cannot update expiration TTL');
    const expiration = body.ExpirationTime ?? null;
    if (expiration !== null && Date.parse(expiration) !== Date.parse(existing.ExpirationTime ?? '')) {
      throw invalidToken('cannot update expiration time');
    }
    const { CreateIndex: _c, ModifyIndex: _m, ...kept } = existing;
    return this.tokens.put(existing.AccessorID, {
      ...kept,
      ...fields,
      ExpirationTime: expiration,
    });
  }

  #resolve(links: readonly Partial<RoleLink>[] | null): RoleLink[] | null {
    if (links === null || links.length === 0) return null;
    const found = links.map(({ ID, Name }) => {
      const role = [...this.roles.rows.values()].find((r) => (ID ? r.ID === ID : r.Name === Name));
      if (role === undefined) throw new NomadError(400, `cannot find role ${ID ?? Name ?? ''}`);
      return { ID: role.ID, Name: role.Name };
    });
    return [...new Map(found.map((link) => [link.ID, link])).values()];
  }

  /** Creates a role, or replaces the one whose ID the body names. */
  putRole(body: Partial<Role>): Role {
    return putRole(this.roles, this.policies, body);
  }

  /** The first management token, once. No event tells of it. @param SecretID a random one where it is empty. */
  bootstrap(SecretID = ''): Token {
    if (this.#bootstrapped !== undefined)
      throw new NomadError(400, `ACL bootstrap already done (reset index: ${String(this.#bootstrapped)})`);
    if (SecretID !== '' && !UUID.test(SecretID)) throw new NomadError(400, 'invalid acl token');
    const AccessorID = randomUUID();
    const token = this.tokens.putUntold(AccessorID, {
      AccessorID,
      SecretID: SecretID === '' ? randomUUID() : SecretID,
      Name: 'Bootstrap Token',
      Type: 'management',
      Policies: null,
      Roles: null,
      Global: true,
      Hash: hashOf(['Bootstrap Token', 'management', 'global']),
      CreateTime: new Date(this.now()).toISOString(),
      ExpirationTime: null,
      ExpirationTTL: '',
    });
    this.#bootstrapped = token.ModifyIndex;
    return token;
  }

  /** As a single read shows it: without the links to roles that are gone, and with the names of the others. */
  shown(token: Token): Token {
    const roles = token.Roles?.map(({ ID }) => this.roles.rows.get(ID)).filter((role) => role !== undefined);
    return { ...token, Roles: roles?.map(({ ID, Name }) => ({ ID, Name })) ?? null };
  }

  /** Names of the policies that a token stands for, by itself and by its roles; those of nobody without one. */
  policiesOf(token: Token | undefined): readonly string[] {
    if (token === undefined) return ['anonymous'];
    const roles = token.Roles?.map(({ ID }) => this.roles.rows.get(ID)) ?? [];
    return [...(token.Policies ?? []), ...roles.flatMap((role) => role?.Policies.map((p) => p.Name) ?? [])];
  }

  isExpired(token: Token): boolean {
    return token.ExpirationTime !== null && Date.parse(token.ExpirationTime) <= this.now();
  }
}

function invalidToken(why: string): NomadError {
  return new NomadError(400, `token 0 invalid: 1 error occurred:\n\t* ${why}\n\n`);
}

function jobAclOf(body: Partial<JobAcl> | null | undefined): JobAcl | null {
  if (body === null || body === undefined) return null;
  const { Namespace = '', JobID = '', Group = '', Task = '' } = body;
  const wrong =
    JobID !== '' && Namespace === ''
      ? 'namespace'
      : Group !== '' && JobID === ''
        ? 'job'
        : Task !== '' && Group === ''
          ? 'group'
          : undefined;
  if (wrong !== undefined)
    throw new NomadError(400, `policy 0 invalid: 1 error occurred:\n\t* job_acl.${wrong} is missing\n\n`);
  return { Namespace, JobID, Group, Task };
}
