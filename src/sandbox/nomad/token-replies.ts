import type { Reply, Request } from '../http.ts';
import type { Token } from './acl.ts';
import { changed, indexed, movedOn } from './blocking.ts';
import type { Store, Table } from './store.ts';

/** The list of tokens: by age, and by pages where that is asked for. Nomad pages no other list. */
export async function listTokens(store: Store, tokens: Table<Token>, request: Request): Promise<Reply> {
  await movedOn(store, request, tokens.lastIndex, changed(tokens));
  const rows = tokens.sorted(request.query.get('prefix') ?? '').sort((a, b) => a.CreateIndex - b.CreateIndex);
  const perPage = Number(request.query.get('per_page') ?? 0);
  const first = Number.parseInt(request.query.get('next_token') ?? '0', 10);
  const rest = rows.filter((row) => row.CreateIndex >= first);
  const page = perPage > 0 ? rest.slice(0, perPage) : rest;
  const next = rest[page.length];
  const reply = indexed(tokens.lastIndex, page.map(tokenStub));
  if (next === undefined) return reply;
  const nextToken = `${String(next.CreateIndex)}.${next.AccessorID}`;
  return { ...reply, headers: { ...reply.headers, 'x-nomad-nexttoken': nextToken } };
}

/** What a request without a token is. */
export const ANONYMOUS = {
  AccessorID: 'anonymous',
  SecretID: '',
  Name: 'Anonymous Token',
  Type: 'client',
  Policies: ['anonymous'],
  Roles: null,
  Global: false,
  Hash: null,
  CreateTime: '0001-01-01T00:00:00Z',
  ExpirationTime: null,
  ExpirationTTL: '',
  CreateIndex: 0,
  ModifyIndex: 0,
};

/** Without the secret and the TTL; roles by ID only. */
function tokenStub({ SecretID: _s, ExpirationTTL: _t, Roles, ...stub }: Token): unknown {
  return { ...stub, Roles: Roles?.map(({ ID }) => ({ ID, Name: '' })) ?? null };
}
