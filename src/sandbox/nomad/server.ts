import type { Reply, Request } from '../http.ts';
import { Acl, type Policy, type Token } from './acl.ts';
import { NomadError } from './errors.ts';
import { Keyring } from './keyring.ts';
import { Store, type Indexed, type StoreEvent, type Table } from './store.ts';
import { Variables } from './variables.ts';

const DENIED = new NomadError(403, 'Permission denied');
/** Longest wait of a blocking query; milliseconds. */
const LONGEST_WAIT = 300_000;
const HEARTBEAT = 30_000;

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
      if (route === undefined) return { status: 404, body: 'Invalid path' };
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

  #caller(request: Request): Token | undefined {
    const secret = request.headers['x-nomad-token'] ?? request.headers['authorization']?.replace(/^Bearer /, '') ?? '';
    if (secret === '') return undefined;
    const token = [...this.acl.tokens.rows.values()].find((t) => t.SecretID === secret);
    if (token === undefined || this.acl.isExpired(token)) throw DENIED;
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
      route('GET', /^\/v1\/acl\/policies$/, (r) => this.#list(r, acl.policies, policyStub)),
      route('GET', /^\/v1\/acl\/policy\/(.+)$/, (r, name) => this.#readPolicy(r, name), 'token'),
      route('PUT', /^\/v1\/acl\/policy\/(.+)$/, (r, name) => {
        acl.putPolicy(name, objectIn(r));
        return this.#indexed(acl.policies.lastIndex);
      }),
      route('DELETE', /^\/v1\/acl\/policy\/(.+)$/, (_r, name) => {
        acl.policies.delete(name);
        return this.#indexed(this.store.index);
      }),
      route('GET', /^\/v1\/acl\/tokens$/, (r) => this.#list(r, acl.tokens, tokenStub)),
      route('GET', /^\/v1\/acl\/token\/self$/, (r) => this.#indexed(acl.tokens.lastIndex, this.#caller(r)), 'token'),
      route('PUT', /^\/v1\/acl\/token$/, (r) => this.#written(acl.putToken(objectIn(r)))),
      route('GET', /^\/v1\/acl\/token\/(.+)$/, (r, id) => this.#readToken(r, id), 'token'),
      route('PUT', /^\/v1\/acl\/token\/(.+)$/, (r, id) =>
        this.#written(acl.putToken({ ...objectIn(r), AccessorID: id })),
      ),
      route('DELETE', /^\/v1\/acl\/token\/(.+)$/, (_r, id) => {
        if (!acl.tokens.rows.has(id)) throw new NomadError(400, `Cannot delete nonexistent tokens: ${id}`);
        acl.tokens.delete(id);
        return this.#indexed(this.store.index);
      }),
      route('GET', /^\/v1\/acl\/roles$/, (r) => this.#list(r, acl.roles, (role) => role)),
      route('PUT', /^\/v1\/acl\/role$/, (r) => this.#written(acl.putRole(objectIn(r)))),
      route('GET', /^\/v1\/acl\/role\/name\/(.+)$/, (_r, name) =>
        this.#found(
          [...acl.roles.rows.values()].find((role) => role.Name === name),
          'ACL role not found',
        ),
      ),
      route('GET', /^\/v1\/acl\/role\/(.+)$/, (_r, id) => this.#found(acl.roles.rows.get(id), 'ACL role not found')),
      route('PUT', /^\/v1\/acl\/role\/(.+)$/, (r, id) => this.#written(acl.putRole({ ...objectIn(r), ID: id }))),
      route('DELETE', /^\/v1\/acl\/role\/(.+)$/, (_r, id) => {
        if (!acl.roles.rows.has(id)) throw new NomadError(500, 'ACL role not found');
        acl.roles.delete(id);
        return this.#indexed(this.store.index);
      }),
      route(
        'PUT',
        /^\/v1\/acl\/bootstrap$/,
        () => {
          throw new NomadError(400, `ACL bootstrap already done (reset index: ${String(this.store.index)})`);
        },
        'anybody',
      ),
      route('GET', /^\/v1\/vars$/, (r) => variables.list(r)),
      route('GET', /^\/v1\/var\/(.+)$/, (r, path) => variables.read(r, path, waitOf(r))),
      route('PUT', /^\/v1\/var\/(.+)$/, (r, path) => variables.put(r, path)),
      route('DELETE', /^\/v1\/var\/(.+)$/, (r, path) => variables.delete(r, path)),
      route('GET', /^\/v1\/event\/stream$/, (r) => this.#stream(r)),
      route(
        'GET',
        /^\/v1\/agent\/self$/,
        () => ({
          status: 200,
          body: { config: { Version: { Version: '1.11.3' }, Region: 'global', ACL: { Enabled: true } } },
        }),
        'token',
      ),
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

  #readPolicy(request: Request, name: string): Reply {
    const caller = this.#caller(request);
    if (caller?.Type !== 'management' && !caller?.Policies?.includes(name)) throw DENIED;
    return this.#found(this.acl.policies.rows.get(name), 'ACL policy not found');
  }

  #readToken(request: Request, id: string): Reply {
    const caller = this.#caller(request);
    if (caller?.Type !== 'management' && caller?.AccessorID !== id) throw DENIED;
    return this.#found(this.acl.tokens.rows.get(id), 'ACL token not found');
  }

  #found<T extends Indexed>(row: T | undefined, missing: string): Reply {
    if (row === undefined) throw new NomadError(404, missing);
    return this.#indexed(row.ModifyIndex, row);
  }

  #written<T extends Indexed>(row: T): Reply {
    return this.#indexed(row.ModifyIndex, row);
  }

  #indexed(index: number, body?: unknown): Reply {
    return { status: 200, headers: { 'x-nomad-index': String(index) }, ...(body !== undefined && { body }) };
  }

  /** A list, by pages where that is asked for; with `index` it waits until the table has changed. */
  async #list<T extends Indexed>(request: Request, table: Table<T>, stub: (row: T) => unknown): Promise<Reply> {
    const index = Number(request.query.get('index') ?? 0);
    if (index >= 1) await this.#changedSince(table, index, waitOf(request));
    const rows = table.sorted(request.query.get('prefix') ?? '');
    const perPage = Number(request.query.get('per_page') ?? 0);
    const from = Number(request.query.get('next_token') ?? 0);
    const page = perPage > 0 ? rows.slice(from, from + perPage) : rows;
    const more = perPage > 0 && rows.length > from + perPage;
    const reply = this.#indexed(table.lastIndex, page.map(stub));
    return more ? { ...reply, headers: { ...reply.headers, 'x-nomad-nexttoken': String(from + perPage) } } : reply;
  }

  #changedSince(table: { readonly lastIndex: number }, index: number, wait: number): Promise<void> {
    if (table.lastIndex > index) return Promise.resolve();
    return new Promise((done) => {
      const finish = (): void => {
        clearTimeout(timer);
        stop();
        done();
      };
      const timer = setTimeout(finish, wait);
      const stop = this.store.listen(() => {
        if (table.lastIndex > index) finish();
      });
    });
  }

  /** Replays what the buffer holds from the index on, then follows; an empty object every half a minute. */
  #stream(request: Request): Reply {
    const topics = request.query.getAll('topic').map((topic) => topic.split(':'));
    const isMeant = (event: StoreEvent): boolean =>
      topics.length === 0 ||
      topics.some(
        ([name, key]) =>
          (name === '*' || name === event.Topic) && (key === undefined || key === '*' || key === event.Key),
      );
    let last = Number(request.query.get('index') ?? 0) - 1;
    const stream: NonNullable<Reply['stream']> = (write, closed) => {
      const flush = (): void => {
        for (const event of this.store.events.filter((e) => e.Index > last && isMeant(e))) {
          last = event.Index;
          write(`${JSON.stringify({ Index: event.Index, Events: [event] })}\n`);
        }
      };
      flush();
      const stop = this.store.listen(flush);
      const beat = setInterval(() => {
        write('{}\n');
      }, HEARTBEAT);
      closed.addEventListener('abort', () => {
        stop();
        clearInterval(beat);
      });
    };
    return { status: 200, headers: { 'content-type': 'application/json' }, stream };
  }
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

function policyStub({ Name, Description, Hash, CreateIndex, ModifyIndex }: Policy): unknown {
  return { Name, Description, Hash, CreateIndex, ModifyIndex };
}

/** Without the secret and the TTL; roles by ID only. */
function tokenStub({ SecretID: _s, ExpirationTTL: _t, Roles, ...stub }: Token): unknown {
  return { ...stub, Roles: Roles?.map(({ ID }) => ({ ID, Name: '' })) ?? null };
}
