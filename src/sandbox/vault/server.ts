import { randomBytes, randomUUID } from 'node:crypto';
import type { Reply, Request } from '../http.ts';
import { allows, capabilitiesOn, reachesInto, wrongCapability, type Capability, type Identity } from './access.ts';
import { Envelope } from './engine.ts';
import { denied, invalid, missing, unknownToken, unmounted, unsupported, VaultError } from './errors.ts';
import type { JwtAuth } from './jwt-auth.ts';
import { reachByHttp, type NomadReach } from './nomad-engine.ts';
import { secretsRoutes } from './secrets-routes.ts';
import { bodyOf, newMount, newTree, type Handler, type Mount, type Route, type Tree } from './tree.ts';
import { list, map, text } from './values.ts';

const BUILT_IN = ['default', 'root'];

interface Token {
  readonly id: string;
  readonly policies: readonly string[];
  readonly identity?: Identity;
  /** Mount that it was made by, and that takes it along when it is disabled. */
  readonly mount?: string;
  /** What is stored of it, unlike of a batch token. */
  readonly lease?: string;
}

/** A namespace of Vault Enterprise, as its documentation shows it: no Enterprise was there to compare with. */
interface Namespace {
  readonly id: string;
  readonly path: string;
  readonly custom_metadata: Readonly<Record<string, string>>;
}

/** The part of Vault's API that the product uses, over memory. Namespaces are trees of their own. */
export class VaultSandbox {
  readonly #trees: Map<string, Tree>;
  readonly #tokens = new Map<string, Token>();
  readonly #routes: readonly Route[] = this.#makeRoutes();
  readonly #newTree: (hasSecret?: boolean) => Tree;
  readonly #namespaces = new Map<string, Namespace>();
  /** Whether it has namespaces, as Vault Enterprise does. */
  isEnterprise = false;
  #sealed = false;

  /** @param now milliseconds since the epoch: what leases are counted by. */
  constructor(rootToken: string, reach: NomadReach = reachByHttp, now: () => number = Date.now) {
    this.#newTree = (hasSecret) => newTree(reach, now, hasSecret);
    this.#trees = new Map([['', this.#newTree()]]);
    this.#tokens.set(rootToken, { id: rootToken, policies: ['root'] });
  }

  seal(): void {
    this.#sealed = true;
  }

  unseal(): void {
    this.#sealed = false;
  }

  /** Makes an Enterprise namespace; those around it must be there. */
  createNamespace(name: string, metadata: Namespace['custom_metadata'] = {}): void {
    this.#namespaces.set(name, { id: randomBytes(3).toString('hex'), path: `${name}/`, custom_metadata: metadata });
    this.#trees.set(name, this.#newTree(false));
  }

  /** With everything in it, as somebody else may do at any time. */
  deleteNamespace(name: string): void {
    this.#namespaces.delete(name);
    this.#trees.delete(name);
  }

  /** A namespace's metadata, for tests; undefined where there is none. */
  namespace(name: string): Namespace | undefined {
    return this.#namespaces.get(name);
  }

  /** Everything of a namespace, for tests. */
  snapshot(namespace = ''): unknown {
    const tree = this.#tree(namespace);
    const mounts = [...tree.mounts].map(([path, m]) => [
      path,
      { type: m.type, accessor: m.accessor, config: m.jwt.config, roles: Object.fromEntries(m.jwt.roles) },
    ]);
    return {
      mounts: Object.fromEntries(mounts) as unknown,
      policies: Object.fromEntries(tree.policies),
      secrets: tree.secrets.state(),
    };
  }

  async handle(request: Request): Promise<Reply> {
    try {
      return { status: 200, ...(await this.#answer(request)) };
    } catch (error) {
      if (error instanceof VaultError) return { status: error.status, body: { errors: error.errors } };
      throw error;
    }
  }

  async #answer(request: Request): Promise<Partial<Reply>> {
    const path = request.path.replace(/^\/v1\//, '').replace(/\/$/, '');
    if (path === 'sys/health' || path === 'sys/seal-status')
      return {
        status: this.#sealed ? 503 : 200,
        body: { initialized: true, sealed: this.#sealed, standby: false, version: '1.21.1' },
      };
    if (this.#sealed) throw new VaultError(503, ['Vault is sealed']);
    const tree = this.#tree(namespaceOf(request));
    const verb = verbOf(request);
    const route = this.#routes.find((r) => r.verb === verb && r.path.test(path));
    if (route?.open !== true) this.#authorise(tree, request, path, verb);
    if (route === undefined) throw unmounted(path);
    const answer = await route.handle(tree, request, route.path.exec(path) as RegExpExecArray);
    if (answer === undefined) return { status: 204 };
    const envelope = {
      request_id: randomUUID(),
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      wrap_info: null,
      warnings: null,
    };
    if (answer instanceof Envelope)
      return { status: answer.status, body: { ...envelope, ...answer.fields, auth: null } };
    return {
      body: isAuth(answer) ? { ...envelope, data: null, ...answer } : { ...envelope, data: answer, auth: null },
    };
  }

  #tree(namespace: string): Tree {
    const tree = this.#trees.get(namespace);
    if (tree === undefined) throw unmounted(namespace);
    return tree;
  }

  #caller(request: Request): Token | undefined {
    return this.#tokens.get(
      request.headers['x-vault-token'] ?? request.headers['authorization']?.replace(/^Bearer /, '') ?? '',
    );
  }

  #known(request: Request): Token {
    const caller = this.#caller(request);
    if (caller === undefined) throw hasToken(request) ? unknownToken() : new VaultError(403, ['permission denied']);
    return caller;
  }

  #authorise(tree: Tree, request: Request, path: string, verb: Route['verb']): void {
    const caller = this.#known(request);
    if (caller.policies.includes('root')) return;
    const policies = policiesOf(tree, caller);
    const wanted: Capability[] = verb === 'write' ? ['create', 'update'] : [verb];
    if (!wanted.some((capability) => allows(policies, path, capability, caller.identity))) throw denied();
  }

  /** What a path's mount is, told to whoever may do anything below the mount. */
  #preflight(tree: Tree, path: string, request: Request): unknown {
    const caller = this.#known(request);
    const mount = tree.secrets.around(path);
    if (mount !== undefined && (caller.policies.includes('root') || reachesInto(policiesOf(tree, caller), mount.path)))
      return mount;
    const why = `preflight capability check returned 403, please ensure client's policies grant access to path "${path}/"`;
    throw new VaultError(403, [why]);
  }

  #capabilities(tree: Tree, request: Request): unknown {
    const caller = this.#known(request);
    const paths = list(bodyOf(request)['paths']);
    if (paths.length === 0) throw invalid('paths must be supplied');
    const on = (path: string): readonly string[] =>
      caller.policies.includes('root') ? ['root'] : capabilitiesOn(policiesOf(tree, caller), path, caller.identity);
    const each = Object.fromEntries(paths.map((path) => [path, on(path)]));
    return paths.length === 1 ? { ...each, capabilities: on(paths[0] ?? '') } : each;
  }

  #makeRoutes(): Route[] {
    const route = (verb: Route['verb'], path: RegExp, handle: Handler, open = false): Route => ({
      verb,
      path,
      handle,
      open,
    });
    return [
      route('read', /^sys\/auth$/, ({ mounts }) =>
        Object.fromEntries([...mounts].map(([path, mount]) => [`${path}/`, describe(mount)])),
      ),
      route('read', /^sys\/auth\/(.+)$/, ({ mounts }, _r, [, path = '']) => {
        const mount = mounts.get(path);
        if (mount === undefined) throw invalid(`No auth engine at ${path}/`);
        return describe(mount);
      }),
      route('write', /^sys\/auth\/(.+)$/, ({ mounts }, r, [, path = '']) => {
        const body = bodyOf(r);
        if (mounts.has(path)) throw invalid(`path is already in use at ${path}/`);
        mounts.set(
          path,
          newMount(text(body['type']), 'options' in body ? body['options'] : {}, text(body['description'])),
        );
      }),
      route('delete', /^sys\/auth\/(.+)$/, ({ mounts }, _r, [, path = '']) => {
        mounts.delete(path);
        for (const token of [...this.#tokens.values()]) if (token.mount === path) this.#tokens.delete(token.id);
      }),
      route('list', /^sys\/leases\/lookup\/auth\/(.+)\/login$/, (_t, _r, [, path = '']) => {
        const ours = [...this.#tokens.values()].filter((token) => token.mount === path);
        const keys = ours.map((token) => token.lease).filter((lease) => lease !== undefined);
        if (keys.length === 0) throw missing();
        return { keys: keys.sort() };
      }),
      route('read', /^auth\/token\/lookup-self$/, (_t, r) => {
        const caller = this.#caller(r);
        return {
          id: caller?.id,
          policies: caller?.policies,
          ttl: 0,
          renewable: false,
          path: 'auth/token/root',
          type: 'service',
        };
      }),
      route('write', /^auth\/token\/revoke-self$/, (_t, r) => void this.#tokens.delete(this.#caller(r)?.id ?? '')),
      route('write', /^auth\/token\/create$/, (_t, r) => {
        const body = bodyOf(r);
        const token: Token = {
          id: `hvs.${randomBytes(18).toString('base64url')}`,
          policies: Array.isArray(body['policies']) ? body['policies'].map(String) : ['root'],
        };
        this.#tokens.set(token.id, token);
        return { auth: { client_token: token.id, policies: token.policies } };
      }),
      route('read', /^auth\/(.+)\/config$/, (tree, _r, [, path = '']) => {
        const { config } = jwtAt(tree, path, 'config');
        if (config === undefined) throw missing();
        return config;
      }),
      route('write', /^auth\/(.+)\/config$/, async (tree, r, [, path = '']) => {
        await jwtAt(tree, path, 'config').writeConfig(bodyOf(r));
      }),
      route('list', /^auth\/(.+)\/role$/, (tree, _r, [, path = '']) => {
        const keys = [...jwtAt(tree, path, 'role/').roles.keys()].sort();
        if (keys.length === 0) throw missing();
        return { keys };
      }),
      route('read', /^auth\/(.+)\/role\/([^/]+)$/, (tree, _r, [, path = '', role = '']) =>
        jwtAt(tree, path, `role/${role}`).role(role.toLowerCase()),
      ),
      route('write', /^auth\/(.+)\/role\/([^/]+)$/, (tree, r, [, path = '', role = '']) => {
        jwtAt(tree, path, `role/${role}`).writeRole(role.toLowerCase(), bodyOf(r));
      }),
      route(
        'delete',
        /^auth\/(.+)\/role\/([^/]+)$/,
        (tree, _r, [, path = '', role = '']) => void jwtAt(tree, path, `role/${role}`).roles.delete(role.toLowerCase()),
      ),
      route('write', /^auth\/(.+)\/login$/, (tree, r, [, path = '']) => this.#login(tree, path, r), true),
      route('list', /^sys\/policies\/acl$/, ({ policies }) => ({ keys: [...policies.keys(), 'root'].sort() })),
      route('read', /^sys\/policies\/acl\/(.+)$/, ({ policies }, _r, [, name = '']) => {
        const policy = policies.get(name.toLowerCase());
        if (name === 'root') return { name, policy: '' };
        if (policy === undefined) throw missing();
        return { name: name.toLowerCase(), policy };
      }),
      route('write', /^sys\/policies\/acl\/(.+)$/, ({ policies }, r, [, name = '']) => {
        if (name === 'root') throw invalid(`cannot update "${name}" policy`);
        policies.set(name.toLowerCase(), policyText(text(bodyOf(r)['policy'])));
      }),
      route('delete', /^sys\/policies\/acl\/(.+)$/, ({ policies }, _r, [, name = '']) => {
        if (BUILT_IN.includes(name)) throw invalid(`cannot delete "${name}" policy`);
        policies.delete(name.toLowerCase());
      }),
      route('write', /^sys\/capabilities-self$/, (tree, r) => this.#capabilities(tree, r), true),
      route(
        'read',
        /^sys\/internal\/ui\/mounts\/(.+)$/,
        (tree, r, [, path = '']) => this.#preflight(tree, path, r),
        true,
      ),
      ...this.#namespaceRoutes(route),
      ...secretsRoutes,
    ];
  }

  /** Asked in the namespace above. */
  #namespaceRoutes(route: (verb: Route['verb'], path: RegExp, handle: Handler) => Route): Route[] {
    const named = (request: Request, name = ''): string => {
      if (!this.isEnterprise) throw new VaultError(404, ['enterprise-only feature']);
      return [namespaceOf(request), name].filter((part) => part !== '').join('/');
    };
    const NAME = /^sys\/namespaces\/([^/]+)$/;
    return [
      route('list', /^sys\/namespaces$/, (_t, r) => {
        const around = `${named(r)}/`.replace(/^\/$/, '');
        const below = [...this.#namespaces.keys()]
          .filter((n) => n.startsWith(around))
          .map((n) => n.slice(around.length));
        const keys = below.filter((n) => !n.includes('/')).map((n) => `${n}/`);
        if (keys.length === 0) throw missing();
        return { keys };
      }),
      route('read', NAME, (_t, r, [, name]) => {
        const found = this.#namespaces.get(named(r, name));
        if (found === undefined) throw missing();
        return found;
      }),
      route('write', NAME, (_t, r, [, name]) => {
        const path = named(r, name);
        if (this.#namespaces.has(path)) throw invalid(`namespace "${path}/" already exists`);
        this.createNamespace(path, map(bodyOf(r)['custom_metadata']) as Namespace['custom_metadata']);
        return this.#namespaces.get(path);
      }),
      route('delete', NAME, (_t, r, [, name]) => {
        const path = named(r, name);
        if ([...this.#namespaces.keys()].some((other) => other.startsWith(`${path}/`)))
          throw invalid(`namespace "${path}/" has child namespaces`);
        this.deleteNamespace(path);
      }),
    ];
  }

  async #login(tree: Tree, path: string, request: Request): Promise<unknown> {
    const mount = tree.mounts.get(path);
    if (mount === undefined) {
      this.#authorise(tree, request, `auth/${path}/login`, 'write');
      throw unmounted(`auth/${path}/login`);
    }
    const { metadata, role } = await mount.jwt.login(bodyOf(request));
    const policies = ['default', ...((role['token_policies'] as string[] | undefined) ?? [])];
    const token: Token = {
      id: `hvs.${randomBytes(18).toString('base64url')}`,
      policies,
      identity: { accessor: mount.accessor, metadata },
      mount: path,
      ...(!text(role['token_type']).endsWith('batch') && { lease: `h${randomBytes(32).toString('hex')}` }),
    };
    this.#tokens.set(token.id, token);
    return {
      auth: {
        client_token: token.id,
        accessor: randomBytes(12).toString('base64url'),
        policies,
        metadata,
        lease_duration: 1800,
        renewable: true,
      },
    };
  }
}

function policiesOf(tree: Tree, { policies }: Token): string[] {
  return policies.map((name) => tree.policies.get(name) ?? '');
}

function namespaceOf({ headers }: Request): string {
  return (headers['x-vault-namespace'] ?? '').replace(/^\/+|\/+$/g, '');
}

function verbOf(request: Request): Route['verb'] {
  if (request.method === 'LIST' || (request.method === 'GET' && /^(true|1)$/.test(request.query.get('list') ?? '')))
    return 'list';
  if (request.method === 'GET') return 'read';
  return request.method === 'DELETE' ? 'delete' : 'write';
}

function hasToken({ headers }: Request): boolean {
  return headers['x-vault-token'] !== undefined || headers['authorization'] !== undefined;
}

function isAuth(answer: unknown): answer is { auth: unknown } {
  return typeof answer === 'object' && answer !== null && 'auth' in answer && Object.keys(answer).length === 1;
}

function describe({ type, accessor, uuid, options, description }: Mount): unknown {
  return {
    accessor,
    config: { default_lease_ttl: 0, force_no_cache: false, max_lease_ttl: 0, token_type: 'default-service' },
    deprecation_status: 'supported',
    description,
    external_entropy_access: false,
    local: false,
    options,
    plugin_version: '',
    running_plugin_version: 'v0.25.0+builtin',
    running_sha256: '',
    seal_wrap: false,
    type,
    uuid,
  };
}

/** @param below what is asked for under the mount. */
function jwtAt(tree: Tree, path: string, below: string): JwtAuth {
  const mount = tree.mounts.get(path);
  if (mount === undefined) throw unmounted(`auth/${path}/${below}`);
  if (mount.type !== 'jwt') throw unsupported();
  return mount.jwt;
}

/** What happens to be valid base64 is decoded. */
function policyText(policy: string): string {
  if (policy === '') throw invalid("'policy' parameter not supplied or empty");
  const isBase64 = policy.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(policy);
  const decoded = isBase64 ? Buffer.from(policy, 'base64').toString('utf8') : policy;
  const wrong = wrongCapability(decoded);
  if (wrong !== undefined) throw invalid(`failed to parse policy: ${wrong}`);
  return decoded;
}
