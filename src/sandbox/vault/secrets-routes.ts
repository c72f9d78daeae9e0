import { bodyOf, type Handler, type Route } from './tree.ts';

const route = (verb: Route['verb'], path: RegExp, handle: Handler): Route => ({ verb, path, handle });

const engines: readonly Route[] = (['read', 'list', 'write', 'delete'] as const).map((verb) =>
  route(verb, /^(?!sys\/|auth\/)(.+)$/, ({ secrets }, request, [, path = '']) => {
    const { engine, below } = secrets.engine(verb === 'list' ? `${path}/` : path);
    return engine.handle({ verb, path: below, query: request.query, body: bodyOf(request) });
  }),
);

/** Secrets engines, what is below them, and their leases. */
export const secretsRoutes: readonly Route[] = [
  route('read', /^sys\/mounts$/, ({ secrets }) => secrets.list()),
  route('read', /^sys\/mounts\/(.+)\/tune$/, ({ secrets }, _r, [, path = '']) => secrets.readTuning(path)),
  route('write', /^sys\/mounts\/(.+)\/tune$/, ({ secrets }, r, [, path = '']) => {
    secrets.tune(path, bodyOf(r));
  }),
  route('read', /^sys\/mounts\/(.+)$/, ({ secrets }, _r, [, path = '']) => secrets.read(path)),
  route('write', /^sys\/mounts\/(.+)$/, ({ secrets }, r, [, path = '']) => {
    secrets.enable(path, bodyOf(r));
  }),
  route('delete', /^sys\/mounts\/(.+)$/, ({ secrets }, _r, [, path = '']) => secrets.disable(path)),
  route('write', /^sys\/leases\/lookup$/, ({ leases }, r) => leases.lookup(bodyOf(r))),
  route('list', /^sys\/leases\/lookup\/(.+)$/, ({ leases }, _r, [, path = '']) => leases.list(path)),
  route('write', /^sys\/leases\/(renew|revoke)(?:\/(.+))?$/, ({ leases }, r, [, what, id]) => {
    const body = { ...bodyOf(r), ...(id !== undefined && { lease_id: id }) };
    return what === 'renew' ? leases.renew(body) : leases.revoke(body);
  }),
  route('write', /^sys\/leases\/revoke-prefix\/(.+)$/, ({ leases }, _r, [, prefix = '']) =>
    leases.revokePrefix(prefix),
  ),
  route('write', /^sys\/leases\/revoke-force\/(.+)$/, ({ leases }, _r, [, prefix = '']) => leases.revokeForce(prefix)),
  ...engines,
];
