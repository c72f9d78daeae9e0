import type { Reply, Request } from '../http.ts';
import { Acl, UUID, type Policy, type Token } from './acl.ts';
import { indexed, list, single, waitOf, written } from './blocking.ts';
import { NomadError } from './errors.ts';
import { Keyring } from './keyring.ts';
import { loginRoutes } from './login-routes.ts';
import type { Role } from './roles.ts';
import { methods, objectIn, route, type Right, type Route } from './route.ts';
import { Store } from './store.ts';
import { eventStream, silentStream } from './stream.ts';
import { ANONYMOUS, listTokens } from './token-replies.ts';
import { Variables } from './variables.ts';

const DENIED = new NomadError(403, 'Permission denied');
const EXPIRED = new NomadError(500, 'ACL token expired');
/** What is no UUID is taken for a workload's identity. */
const UNSIGNED = new NomadError(
  500,
  'failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts',
);
const INVALID_METHOD = new NomadError(405, 'Invalid method');

/** Nomad's ACL API over memory. */
export class NomadSandbox {
  readonly store = new Store();
  readonly acl: Acl;
  readonly keyring = new Keyring();
  readonly variables: Variables;
  readonly #routes: readonly Route[];

  constructor(now: () => number) {
    this.acl = new Acl(this.store, now);
    this.variables = new Variables(this.store, now);
    this.#routes = this.#makeRoutes();
  }

  async handle(request: Request): Promise<Reply> {
    try {
      const found = this.#routes.find((r) => methods(r.method).includes(request.method) && r.path.test(request.path));
      if (found === undefined) return { status: 404 };
      this.#authorise(request, found.right);
      return await found.handle(request, found.path.exec(request.path)?.[1] ?? '');
    } catch (error) {
      if (error instanceof NomadError) return { status: error.status, body: error.message };
      throw error;
    }
  }

  /** Everything, for tests. */
  snapshot(): { policies: Policy[]; tokens: Token[] } {
    return { policies: this.acl.policies.sorted(), tokens: this.acl.tokens.sorted() };
  }

  /** @param readsToken tokens are read: then a token that has expired, or is none, is not answered by a 403. */
  #caller(request: Request, readsToken = false): Token | undefined {
    const secret = request.headers['x-nomad-token'] ?? request.headers['authorization']?.replace(/^Bearer /, '') ?? '';
    if (secret === '') return undefined;
    const token = [...this.acl.tokens.rows.values()].find((t) => t.SecretID === secret);
    if (token === undefined) throw readsToken && !UUID.test(secret) ? UNSIGNED : DENIED;
    if (this.acl.isExpired(token)) throw readsToken ? EXPIRED : DENIED;
    return token;
  }

  #authorise(request: Request, right: Right): void {
    if (right === 'anybody') return;
    const caller = this.#caller(request);
    if (caller === undefined || (right === 'management' && caller.Type !== 'management')) throw DENIED;
  }

  #makeRoutes(): Route[] {
    const { acl, keyring, variables } = this;
    return [
      route('GET', /^\/v1\/acl\/policies$/, (r) => this.#listPolicies(r), 'anybody'),
      // A policy of that name can be neither read nor written.
      route('GET', /^\/v1\/acl\/policy\/self$/, (r) => this.#listPolicies(r), 'token'),
      ...['PUT', 'DELETE'].map((method) =>
        route(
          method,
          /^\/v1\/acl\/policy\/self$/,
          () => {
            throw INVALID_METHOD;
          },
          'anybody',
        ),
      ),
      route('GET', /^\/v1\/acl\/policy\/(.+)$/, (r, name) => this.#readPolicy(r, name), 'anybody'),
      route('PUT', /^\/v1\/acl\/policy\/(.+)$/, (r, name) => {
        const body: Partial<Policy> = objectIn(r);
        if (body.Name !== name) throw new NomadError(400, 'ACL policy name does not match request path');
        acl.putPolicy(name, body);
        return indexed(acl.policies.lastIndex);
      }),
      route('DELETE', /^\/v1\/acl\/policy\/(.+)$/, (_r, name) => {
        acl.policies.delete(name);
        return indexed(this.store.index);
      }),
      route('GET', /^\/v1\/acl\/tokens$/, (r) => listTokens(this.store, acl.tokens, r)),
      route('GET', /^\/v1\/acl\/token\/self$/, (r) => this.#readSelf(r), 'anybody'),
      route('PUT', /^\/v1\/acl\/token$/, (r) => written(acl.putToken(objectIn(r)))),
      route('GET', /^\/v1\/acl\/token\/(.+)$/, (r, id) => this.#readToken(r, id), 'anybody'),
      route('PUT', /^\/v1\/acl\/token\/(.+)$/, (r, id) => {
        const body: Partial<Token> = objectIn(r);
        if (body.AccessorID !== id) throw new NomadError(400, 'ACL token accessor does not match request path');
        return written(acl.putToken(body));
      }),
      route('DELETE', /^\/v1\/acl\/token\/(.+)$/, (_r, id) => {
        if (!acl.tokens.rows.has(id)) throw new NomadError(400, `Cannot delete nonexistent tokens: ${id}`);
        acl.tokens.delete(id);
        return indexed(this.store.index);
      }),
      route('GET', /^\/v1\/acl\/roles$/, (r) => this.#listRoles(r), 'anybody'),
      route('PUT', /^\/v1\/acl\/role$/, (r) => written(acl.putRole(objectIn(r)))),
      route('GET', /^\/v1\/acl\/role\/name\/(.+)$/, (r, name) => {
        const role = [...acl.roles.rows.values()].find(({ Name }) => Name === name);
        return this.#readRole(r, role?.ID ?? '');
      }),
      route('GET', /^\/v1\/acl\/role\/(.+)$/, (r, id) => this.#readRole(r, id), 'token'),
      route('PUT', /^\/v1\/acl\/role\/(.+)$/, (r, id) => {
        const body: Partial<Role> = objectIn(r);
        if (body.ID !== id) throw new NomadError(400, 'ACL role ID does not match request path');
        return written(acl.putRole(body));
      }),
      route('DELETE', /^\/v1\/acl\/role\/(.+)$/, (_r, id) => {
        if (!acl.roles.rows.has(id)) throw new NomadError(500, 'ACL role not found');
        acl.roles.delete(id);
        return indexed(this.store.index);
      }),
      ...loginRoutes(this.store, acl),
      route(
        'PUT',
        /^\/v1\/acl\/bootstrap$/,
        ({ body }) => written(acl.bootstrap((body as { BootstrapSecret?: string } | undefined)?.BootstrapSecret)),
        'anybody',
      ),
      route('GET', /^\/v1\/namespace\/(.+)$/, (_r, name) => {
        if (name !== 'default') throw new NomadError(404, 'Namespace not found');
        return { status: 200, body: { Name: 'default', Description: 'Default shared namespace' } };
      }),
      route('GET', /^\/v1\/vars$/, (r) => variables.list(r)),
      route('GET', /^\/v1\/var\/(.+)$/, (r, path) => variables.read(r, path, waitOf(r))),
      route('PUT', /^\/v1\/var\/(.+)$/, (r, path) => variables.put(r, path)),
      route('DELETE', /^\/v1\/var\/(.+)$/, (r, path) => variables.delete(r, path)),
      route('GET', /^\/v1\/event\/stream$/, (r) => this.#stream(r), 'anybody'),
      route('GET', /^\/v1\/agent\/self$/, () => ({
        status: 200,
        body: { config: { Version: { Version: '1.11.3' }, Region: 'global', ACL: { Enabled: true } } },
      })),
      route('GET', /^\/v1\/status\/leader$/, () => ({ status: 200, body: '"127.0.0.1:4647"' }), 'anybody'),
      route('GET', /^\/v1\/regions$/, () => ({ status: 200, body: ['global'] }), 'anybody'),
      route(
        'GET',
        /^\/\.well-known\/jwks\.json$/,
        () => ({ status: 200, body: keyring.jwks(), headers: { 'cache-control': 'max-age=900' } }),
        'anybody',
      ),
    ];
  }

  #listPolicies(request: Request): Promise<Reply> {
    const caller = this.#caller(request);
    const { policies } = this.acl;
    const isSeen = ({ Name }: Policy): boolean =>
      caller?.Type === 'management' || this.acl.policiesOf(caller).includes(Name);
    return list(this.store, request, policies, () =>
      policies
        .sorted(request.query.get('prefix') ?? '')
        .filter(isSeen)
        .map(policyStub),
    );
  }

  #listRoles(request: Request): Promise<Reply> {
    const caller = this.#caller(request);
    const { roles } = this.acl;
    const isSeen = ({ ID }: Role): boolean =>
      caller?.Type === 'management' || caller?.Roles?.some((link) => link.ID === ID) === true;
    return list(this.store, request, roles, () => roles.sorted(request.query.get('prefix') ?? '').filter(isSeen));
  }

  #readPolicy(request: Request, name: string): Promise<Reply> {
    const caller = this.#caller(request);
    const isSeen = caller?.Type === 'management' || name === 'anonymous' || this.acl.policiesOf(caller).includes(name);
    if (!isSeen) throw DENIED;
    return single(this.store, request, this.acl.policies, name, 'ACL policy not found');
  }

  #readToken(request: Request, id: string): Promise<Reply> {
    const caller = this.#caller(request, true);
    if (!UUID.test(id)) throw new NomadError(500, 'acl token lookup failed: index error: UUID must be 36 characters');
    if (caller?.Type !== 'management' && caller?.AccessorID !== id) throw DENIED;
    return single(this.store, request, this.acl.tokens, id, 'ACL token not found', (token) => this.acl.shown(token));
  }

  #readSelf(request: Request): Reply {
    const caller = this.#caller(request, true);
    if (caller === undefined) return indexed(0, ANONYMOUS);
    return indexed(caller.ModifyIndex, this.acl.shown(caller));
  }

  #readRole(request: Request, id: string): Promise<Reply> {
    const caller = this.#caller(request);
    if (caller?.Type !== 'management' && caller?.Roles?.some(({ ID }) => ID === id) !== true) throw DENIED;
    return single(this.store, request, this.acl.roles, id, 'ACL role not found');
  }

  #stream(request: Request): Reply {
    try {
      if (this.#caller(request)?.Type === 'management') return eventStream(this.store, request.query);
    } catch (error) {
      if (error !== DENIED) throw error;
    }
    return silentStream();
  }
}

function policyStub({ Rules: _r, ...stub }: Policy): unknown {
  return stub;
}
