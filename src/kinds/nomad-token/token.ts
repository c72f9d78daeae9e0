import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import { TargetError } from '../../contract/errors.ts';
import type { NomadApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live, ObjectKey } from '../../plan/step.ts';
import { stringIn, type Fields, type Value } from '../../plan/value.ts';
import { operatorToken } from '../operator-token.ts';
import { arrived, removed } from '../replication.ts';
import { markerOf } from '../marked/marker.ts';
import { madeUnnoticed, type MarkedType } from '../marked/match.ts';
import { explained, type Refusals } from '../refusal.ts';

/** How the fields of a token are compared. */
export const tokenFieldRules: Readonly<Record<string, FieldRule>> = {
  name: { compare: 'exact' },
  type: { compare: 'exact' },
  policies: { compare: 'set' },
  roles: { compare: 'set' },
  global: { compare: 'exact', onChange: 'replace' },
  expirationTtl: { compare: 'exact', onChange: 'replace' },
};

const keyName = (live: Live): string => stringIn(live.fields, 'name');
const { name: _name, expirationTtl: _ttl, ...rights } = tokenFieldRules;

export const markedToken: MarkedType = {
  noun: 'token',
  markedField: 'name',
  rules: tokenFieldRules,
  keyName,
  // How long it lives is no matter.
  rights,
  needsReplacement: ({ fields }, wanted) =>
    fields['global'] !== wanted['global'] || fields['expirationTtl'] !== wanted['expirationTtl'],
};

interface RoleLink {
  readonly ID: string;
  readonly Name: string;
}

/** A token as Nomad lists it: no secret, no TTL, roles by ID only. */
export interface TokenStub {
  readonly AccessorID: string;
  readonly Name: string;
  readonly Type: string;
  readonly Policies: readonly string[] | null;
  readonly Roles: readonly RoleLink[] | null;
  readonly Global: boolean;
  /** RFC 3339. */
  readonly CreateTime: string;
  readonly ExpirationTime: string | null;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
}

interface Token extends TokenStub {
  readonly SecretID: string;
}

const LIST = '/v1/acl/tokens';
/** A role was deleted just now. */
const REFUSALS: Refusals = [[/ cannot find role /, 'dependency']];

/** A Nomad ACL token. Live objects are kept by accessor ID; the key's name is the live name with its marker. */
export const aclTokenObject: ObjectType = {
  name: 'acl-token',
  connection: 'NomadCluster',
  after: ['acl-policy', 'acl-role'],

  /** One list, and one look at who we are; a list of the roles only where a token of interest has some. */
  async read(io, request, signal) {
    const named = new Set([...request.desired.map((d) => d.key.name), ...request.owned.map((o) => o.id)]);
    const isOurs = (stub: TokenStub): boolean => named.has(stub.AccessorID) || markerOf(stub.Name) !== undefined;
    return readTokens(io.nomad(request.connection), isOurs, signal);
  },

  /** Events and lists name a token's roles by ID only. */
  watch: {
    topic: 'ACLToken',
    list: LIST,
    live: (payload) => {
      const token = (payload as { ACLToken: TokenStub }).ACLToken;
      return token.Roles?.length ? undefined : liveToken(token, new Map());
    },
  },

  async create(io, desired) {
    const { fields } = desired;
    const api = io.nomad(desired.key.connection);
    if (fields['global'] === true) await notUnderWay(api, desired.key.name);
    const reply = api.post<Token>('/v1/acl/token', {
      ...writable(fields),
      Global: fields['global'],
      ...(fields['expirationTtl'] !== null && { ExpirationTTL: `${JSON.stringify(fields['expirationTtl'])}s` }),
    });
    const { body: token } = await explained(reply, REFUSALS);
    io.secrets.put(token.AccessorID, token.SecretID);
    const live = await here(api, token);
    // Its readers may be in another region, and must not find its secret before it is known there.
    if (token.Global) await api.everywhere(path(token.AccessorID));
    return live;
  },

  /**
   * The whole token goes back with just our fields changed: what an update omits, Nomad clears, and an expiration
   * that is cleared makes the token live for ever.
   */
  async update(io, desired, live) {
    const api = io.nomad(desired.key.connection);
    const accessor = live.id ?? '';
    const current = await api.get<Token>(path(accessor));
    if (current === undefined) throw gone(desired, accessor);
    const reply = api.put<Token>(path(accessor), { ...current.body, ...writable(desired.fields) });
    return here(api, (await explained(reply, REFUSALS)).body);
  },

  async remove(io, { key, live }) {
    return removed(io.nomad(key.connection), path(live.id ?? ''));
  },

  rules: tokenFieldRules,
  identify: (live) => live.id ?? '',
  keyName,
  index: (live) => markerOf(stringIn(live.fields, 'name'))?.owner,
  find: (owned, live) => (owned.id === undefined ? madeUnnoticed(markedToken, owned, live) : live.get(owned.id)),

  neededBy: ({ detail }) => keyIn(detail?.['neededBy']),

  remember: (live) => ({
    expirationTtl: live.fields['expirationTtl'] ?? null,
    expiresAt: live.facts?.['expiresAt'] ?? null,
  }),
};

function here(api: NomadApi, token: Token): Promise<Live> {
  const liveOf = (body: Token): Live => liveToken(body, new Map());
  return arrived(api, path(token.AccessorID), liveOf(token), tokenFieldRules, liveOf);
}

/**
 * A global token is made in the authoritative region. One that we made there before we were interrupted may still be on its way
 * to the region that we look at, and would be made twice. A region that does not answer is not waited for.
 */
async function notUnderWay(api: NomadApi, name: string): Promise<void> {
  const regions = await api.regions();
  if (regions.length < 2) return;
  const lists = await Promise.allSettled(regions.map((region) => api.list<TokenStub>(LIST, { region, global: true })));
  const made = lists.flatMap((list) => (list.status === 'fulfilled' ? list.value.items : []));
  if (!made.some((stub) => stub.Name === name)) return;
  throw new TargetError(`token ${name} was made in another region and is still on its way here`, {
    class: 'transient',
  });
}

function keyIn(value: Value | undefined): ObjectKey | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const fields = value as Fields;
  return { connection: stringIn(fields, 'connection'), type: stringIn(fields, 'type'), name: stringIn(fields, 'name') };
}

/** Those of all tokens that are meant, by accessor ID. @throws TargetError */
export async function readTokens(
  api: NomadApi,
  isMeant: (stub: TokenStub) => boolean,
  signal: AbortSignal,
): Promise<{ objects: ReadonlyMap<string, Live>; index: number }> {
  const [{ items, index }, self] = await Promise.all([
    api.list<TokenStub>(LIST, {}, signal),
    operatorToken(api, signal),
  ]);
  const meant = items.filter(isMeant);
  const roles = await roleNames(api, meant, signal);
  const own = self?.AccessorID;
  const lives = meant.map((stub): [string, Live] => [
    stub.AccessorID,
    { ...liveToken(stub, roles), ...protection(stub, own) },
  ]);
  return { objects: new Map(lives), index };
}

/** The SecretID of a token: from the create that made it, or read back. */
export async function secretOf(api: NomadApi, accessorId: string, signal?: AbortSignal): Promise<string | undefined> {
  return (await api.get<Token>(path(accessorId), {}, signal))?.body.SecretID;
}

async function roleNames(
  api: NomadApi,
  tokens: readonly TokenStub[],
  signal: AbortSignal,
): Promise<Map<string, string>> {
  if (!tokens.some((token) => token.Roles?.length)) return new Map();
  const { items } = await api.list<RoleLink>('/v1/acl/roles', {}, signal);
  return new Map(items.map((role) => [role.ID, role.Name]));
}

function liveToken(token: TokenStub, roles: ReadonlyMap<string, string>): Live {
  const created = Date.parse(token.CreateTime);
  const expires = token.ExpirationTime === null ? null : Date.parse(token.ExpirationTime);
  return {
    id: token.AccessorID,
    fields: {
      name: token.Name,
      type: token.Type,
      policies: token.Policies ?? [],
      roles: (token.Roles ?? []).map((role) => roles.get(role.ID) ?? (role.Name || role.ID)),
      global: token.Global,
      expirationTtl: expires === null ? null : Math.round((expires - created) / 1000),
    },
    index: token.ModifyIndex,
    facts: {
      createdAt: created,
      expiresAt: expires,
      ...(token.Roles?.length && { roleIds: token.Roles.map((role) => role.ID) }),
    },
  };
}

function protection(token: TokenStub, own: string | undefined): { protected?: string } {
  if (token.AccessorID === own) return { protected: 'it is the token that nomad-access itself uses' };
  const bootstrap = token.Name === 'Bootstrap Token' && token.Type === 'management' && token.Global;
  return bootstrap ? { protected: 'it is the bootstrap token' } : {};
}

/** The fields that Nomad lets change in place. */
function writable(fields: Fields): Record<string, unknown> {
  return {
    Name: fields['name'],
    Type: fields['type'],
    Policies: fields['policies'],
    Roles: (fields['roles'] as readonly string[]).map((name) => ({ Name: name })),
  };
}

function gone(desired: SettledDesired, accessor: string): TargetError {
  return new TargetError(`token ${accessor} of ${desired.key.name} is gone from Nomad`, { class: 'transient' });
}

function path(accessorId: string): string {
  return `/v1/acl/token/${encodeURIComponent(accessorId)}`;
}
