import type { Reply, Request } from '../http.ts';
import { Acl, UUID, type Policy, type Token } from './acl.ts';
import { authMethodStub, putAuthMethod, shownMethod, type MethodBody } from './auth-methods.ts';
import { bindingRuleStub, putBindingRule } from './binding-rules.ts';
import { NomadError } from './errors.ts';
import { Keyring } from './keyring.ts';
import { login } from './login.ts';
import type { Role } from './roles.ts';
import { Store, type Indexed, type Table } from './store.ts';
import { eventStream, silentStream } from './stream.ts';
import { Variables } from './variables.ts';

const DENIED = new NomadError(403, 'Permission denied');
const EXPIRED = new NomadError(500, 'ACL token expired');
/** What is no UUID is taken for a workload's identity. */
const UNSIGNED = new NomadError(
  500,
  'failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts',
);
const INVALID_METHOD = new NomadError(405, 'Invalid method');
/** Longest wait of a blocking query; milliseconds. */
const LONGEST_WAIT = 300_000;

type Handler = (request: Request, name: string) => Reply | Promise<Reply>;
/** Who may: anybody, whoever has a token, or management. */
type Right = 'anybody' | 'token' | 'management';

interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly right: Right;
  readonly handle: Handler;
}

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
      const route = this.#routes.find((r) => methods(r.method).includes(request.method) && r.path.test(request.path));
      if (route === undefined) return { status: 404 };
      this.#authorise(request, route.right);
      return await route.handle(request, route.path.exec(request.path)?.[1] ?? '');
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
    const route = (method: string, path: RegExp, handle: Handler, right: Right = 'management'): Route => ({
      method,
      path,
      right,
      handle,
    });
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
        return this.#indexed(acl.policies.lastIndex);
      }),
      route('DELETE', /^\/v1\/acl\/policy\/(.+)$/, (_r, name) => {
        acl.policies.delete(name);
        return this.#indexed(this.store.index);
      }),
      route('GET', /^\/v1\/acl\/tokens$/, (r) => this.#listTokens(r)),
      route('GET', /^\/v1\/acl\/token\/self$/, (r) => this.#readSelf(r), 'anybody'),
      route('PUT', /^\/v1\/acl\/token$/, (r) => this.#written(acl.putToken(objectIn(r)))),
      route('GET', /^\/v1\/acl\/token\/(.+)$/, (r, id) => this.#readToken(r, id), 'anybody'),
      route('PUT', /^\/v1\/acl\/token\/(.+)$/, (r, id) => {
        const body: Partial<Token> = objectIn(r);
        if (body.AccessorID !== id) throw new NomadError(400, 'ACL token accessor does not match request path');
        return this.#written(acl.putToken(body));
      }),
      route('DELETE', /^\/v1\/acl\/token\/(.+)$/, (_r, id) => {
        if (!acl.tokens.rows.has(id)) throw new NomadError(400, `Cannot delete nonexistent tokens: ${id}`);
        acl.tokens.delete(id);
        return this.#indexed(this.store.index);
      }),
      route('GET', /^\/v1\/acl\/roles$/, (r) => this.#listRoles(r), 'anybody'),
      route('PUT', /^\/v1\/acl\/role$/, (r) => this.#written(acl.putRole(objectIn(r)))),
      route('GET', /^\/v1\/acl\/role\/name\/(.+)$/, (r, name) => {
        const role = [...acl.roles.rows.values()].find(({ Name }) => Name === name);
        return this.#readRole(r, role?.ID ?? '');
      }),
      route('GET', /^\/v1\/acl\/role\/(.+)$/, (r, id) => this.#readRole(r, id), 'token'),
      route('PUT', /^\/v1\/acl\/role\/(.+)$/, (r, id) => {
        const body: Partial<Role> = objectIn(r);
        if (body.ID !== id) throw new NomadError(400, 'ACL role ID does not match request path');
        return this.#written(acl.putRole(body));
      }),
      route('DELETE', /^\/v1\/acl\/role\/(.+)$/, (_r, id) => {
        if (!acl.roles.rows.has(id)) throw new NomadError(500, 'ACL role not found');
        acl.roles.delete(id);
        return this.#indexed(this.store.index);
      }),
      ...this.#loginRoutes(route),
      route(
        'PUT',
        /^\/v1\/acl\/bootstrap$/,
        ({ body }) => this.#written(acl.bootstrap((body as { BootstrapSecret?: string } | undefined)?.BootstrapSecret)),
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

  /** Everything that logins need: methods, rules, and the login itself. */
  #loginRoutes(route: (method: string, path: RegExp, handle: Handler, right?: Right) => Route): Route[] {
    const { acl } = this;
    const { authMethods, bindingRules } = acl;
    const now = (): string => new Date(acl.now()).toISOString();
    const putMethod = (r: Request): Reply => {
      const method = putAuthMethod(authMethods, objectIn(r), now());
      return this.#indexed(this.store.index, shownMethod(method));
    };
    const putRule = (body: { readonly ID?: string }): Reply =>
      this.#indexed(this.store.index, putBindingRule(bindingRules, authMethods, body, now()));
    const deleted = (table: Table<never>, key: string, missing: string): Reply => {
      if (!table.rows.has(key)) throw new NomadError(500, missing);
      table.delete(key);
      return this.#indexed(this.store.index);
    };
    const METHOD = /^\/v1\/acl\/auth-method\/(.+)$/;
    const RULE = /^\/v1\/acl\/binding-rule\/(.+)$/;
    const methodList: Handler = (r) => this.#list(r, authMethods, () => authMethods.sorted().map(authMethodStub));
    const ruleList: Handler = (r) => this.#list(r, bindingRules, () => bindingRules.sorted().map(bindingRuleStub));
    return [
      route('GET', /^\/v1\/acl\/auth-methods$/, methodList, 'anybody'),
      route('PUT', /^\/v1\/acl\/auth-method$/, putMethod),
      route('GET', METHOD, (r, name) => this.#single(r, authMethods, name, 'ACL auth-method not found', shownMethod)),
      route('PUT', METHOD, (r, name) => {
        const body: MethodBody = objectIn(r);
        if (body.Name !== name) throw new NomadError(400, 'ACL auth-method name does not match request path');
        return putMethod(r);
      }),
      route('DELETE', METHOD, (_r, name) => deleted(authMethods as never, name, 'ACL auth method not found')),
      route('GET', /^\/v1\/acl\/binding-rules$/, ruleList),
      route('PUT', /^\/v1\/acl\/binding-rule$/, (r) => putRule(objectIn(r))),
      route('GET', RULE, (r, id) => this.#single(r, bindingRules, id, 'ACL binding rule not found')),
      route('PUT', RULE, (r, id) => {
        const body: { readonly ID?: string } = objectIn(r);
        if (body.ID && body.ID !== id) throw new NomadError(400, 'ACL binding rule ID does not match request path');
        return putRule({ ...body, ID: id });
      }),
      route('DELETE', RULE, (_r, id) => deleted(bindingRules as never, id, 'ACL binding rule not found')),
      route('PUT', /^\/v1\/acl\/login$/, async (r) => this.#written(await login(acl, objectIn(r))), 'anybody'),
    ];
  }

  #listPolicies(request: Request): Promise<Reply> {
    const caller = this.#caller(request);
    const { policies } = this.acl;
    const isSeen = ({ Name }: Policy): boolean =>
      caller?.Type === 'management' || this.acl.policiesOf(caller).includes(Name);
    return this.#list(request, policies, () =>
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
    return this.#list(request, roles, () => roles.sorted(request.query.get('prefix') ?? '').filter(isSeen));
  }

  #readPolicy(request: Request, name: string): Promise<Reply> {
    const caller = this.#caller(request);
    const isSeen = caller?.Type === 'management' || name === 'anonymous' || this.acl.policiesOf(caller).includes(name);
    if (!isSeen) throw DENIED;
    return this.#single(request, this.acl.policies, name, 'ACL policy not found');
  }

  #readToken(request: Request, id: string): Promise<Reply> {
    const caller = this.#caller(request, true);
    if (!UUID.test(id)) throw new NomadError(500, 'acl token lookup failed: index error: UUID must be 36 characters');
    if (caller?.Type !== 'management' && caller?.AccessorID !== id) throw DENIED;
    return this.#single(request, this.acl.tokens, id, 'ACL token not found', (token) => this.acl.shown(token));
  }

  #readSelf(request: Request): Reply {
    const caller = this.#caller(request, true);
    if (caller === undefined) return this.#indexed(0, ANONYMOUS);
    return this.#indexed(caller.ModifyIndex, this.acl.shown(caller));
  }

  #readRole(request: Request, id: string): Promise<Reply> {
    const caller = this.#caller(request);
    if (caller?.Type !== 'management' && caller?.Roles?.some(({ ID }) => ID === id) !== true) throw DENIED;
    return this.#single(request, this.acl.roles, id, 'ACL role not found');
  }

  /** One object; with `index` it waits until the object has changed, has come or is gone. */
  async #single<T extends Indexed>(
    request: Request,
    table: Table<T>,
    key: string,
    missing: string,
    shown: (row: T) => unknown = (row) => row,
  ): Promise<Reply> {
    const before = table.rows.get(key);
    const isChanged = (): boolean => table.rows.get(key) !== before;
    await this.#movedOn(request, before?.ModifyIndex ?? table.lastIndex, isChanged);
    const row = table.rows.get(key);
    if (row !== undefined) return this.#indexed(row.ModifyIndex, shown(row));
    return { ...this.#indexed(table.lastIndex, missing), status: 404 };
  }

  #written<T extends Indexed>(row: T): Reply {
    return this.#indexed(row.ModifyIndex, row);
  }

  #indexed(index: number, body?: unknown): Reply {
    return { status: 200, headers: { 'x-nomad-index': String(index) }, ...(body !== undefined && { body }) };
  }

  /** A whole list; with `index` it waits until the table has changed. */
  async #list<T extends Indexed>(request: Request, table: Table<T>, stubs: () => unknown[]): Promise<Reply> {
    await this.#movedOn(request, table.lastIndex, changed(table));
    return this.#indexed(table.lastIndex, stubs());
  }

  /** By age, and by pages where that is asked for. Nomad pages no other list. */
  async #listTokens(request: Request): Promise<Reply> {
    const { tokens } = this.acl;
    await this.#movedOn(request, tokens.lastIndex, changed(tokens));
    const rows = tokens.sorted(request.query.get('prefix') ?? '').sort((a, b) => a.CreateIndex - b.CreateIndex);
    const perPage = Number(request.query.get('per_page') ?? 0);
    const first = Number.parseInt(request.query.get('next_token') ?? '0', 10);
    const rest = rows.filter((row) => row.CreateIndex >= first);
    const page = perPage > 0 ? rest.slice(0, perPage) : rest;
    const next = rest[page.length];
    const reply = this.#indexed(tokens.lastIndex, page.map(tokenStub));
    if (next === undefined) return reply;
    const nextToken = `${String(next.CreateIndex)}.${next.AccessorID}`;
    return { ...reply, headers: { ...reply.headers, 'x-nomad-nexttoken': nextToken } };
  }

  /** Waits, where the index that is asked for has been reached already, until something changes or the time is over. */
  #movedOn(request: Request, current: number, isChanged: () => boolean): Promise<void> {
    const index = Number(request.query.get('index') ?? 0);
    if (index < 1 || current > index) return Promise.resolve();
    return new Promise((done) => {
      const finish = (): void => {
        clearTimeout(timer);
        stop();
        done();
      };
      const timer = setTimeout(finish, waitOf(request));
      const stop = this.store.listen(() => {
        if (isChanged()) finish();
      });
    });
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

/** What a request without a token is. */
const ANONYMOUS = {
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

/** Whether a table has changed since this was asked for. */
function changed(table: { readonly lastIndex: number }): () => boolean {
  const before = table.lastIndex;
  return () => table.lastIndex > before;
}

/** PUT and POST mean the same to Nomad. */
function methods(method: string): readonly string[] {
  return method === 'PUT' ? ['PUT', 'POST'] : [method];
}

function objectIn(request: Request): Record<string, never> {
  if (typeof request.body !== 'object' || request.body === null) throw new NomadError(400, 'EOF');
  return request.body as Record<string, never>;
}

function waitOf(request: Request): number {
  const [, amount, unit] = /^([0-9.]+)(ms|s|m)$/.exec(request.query.get('wait') ?? '') ?? [];
  if (amount === undefined) return LONGEST_WAIT;
  return Math.min(LONGEST_WAIT, Number(amount) * (unit === 'ms' ? 1 : unit === 's' ? 1000 : 60_000));
}

function policyStub({ Rules: _r, ...stub }: Policy): unknown {
  return stub;
}

/** Without the secret and the TTL; roles by ID only. */
function tokenStub({ SecretID: _s, ExpirationTTL: _t, Roles, ...stub }: Token): unknown {
  return { ...stub, Roles: Roles?.map(({ ID }) => ({ ID, Name: '' })) ?? null };
}
