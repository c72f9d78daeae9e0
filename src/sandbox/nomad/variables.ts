import { randomUUID } from 'node:crypto';
import type { Reply, Request } from '../http.ts';
import { durationOf, goDuration } from './duration.ts';
import { NomadError } from './errors.ts';
import type { Indexed, Store } from './store.ts';

interface Lock {
  readonly ID: string;
  /** Milliseconds, as LockDelay. */
  readonly TTL: number;
  readonly LockDelay: number;
  /** When nobody can hold it any more; by the sandbox's clock. */
  freeAt: number;
}

interface Variable extends Indexed {
  readonly Namespace: string;
  readonly Path: string;
  readonly Items: Readonly<Record<string, string>>;
  readonly CreateTime: number;
  readonly ModifyTime: number;
  readonly lock: Lock | undefined;
}

interface Body {
  readonly Namespace?: string;
  readonly Items?: unknown;
  readonly Lock?: { readonly ID?: string; readonly TTL?: string | number; readonly LockDelay?: string | number };
}

const LIMIT = 65_536;
const PATH = /^[a-zA-Z0-9\-_~/]{1,128}$/;
const SECOND = 1000;
const TTL = { min: 10 * SECOND, max: 24 * 3600 * SECOND, default: 15 * SECOND };
const DELAY = 15 * SECOND;
const OPERATIONS = ['lock-renew', 'lock-acquire', 'lock-release'];

/** A mistake in a request, in the words of Nomad's RPC layer. */
const wrong = (text: string): NomadError => new NomadError(400, `RPC Error:: 400,${text}`);
const json = (status: number, index: number, body: unknown): Reply => ({
  status,
  headers: { 'x-nomad-index': String(index) },
  body,
});

/** Nomad Variables (nomad/variables_endpoint.go) and their locks (nomad/locks.go). */
export class Variables {
  readonly #rows = new Map<string, Variable>();
  readonly #store: Store;
  readonly #now: () => number;
  readonly #waiting = new Set<() => void>();
  #lastIndex = 1;

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** Everything that is there, for tests. */
  all(): readonly Pick<Variable, 'Namespace' | 'Path' | 'Items'>[] {
    return [...this.#rows.values()];
  }

  list(request: Request): Reply {
    this.#expire();
    const namespace = request.query.get('namespace') ?? 'default';
    const prefix = request.query.get('prefix') ?? '';
    const rows = [...this.#rows.values()]
      .filter((row) => (namespace === '*' || row.Namespace === namespace) && row.Path.startsWith(prefix))
      .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    const perPage = Number(request.query.get('per_page') ?? 0);
    const token = request.query.get('next_token') ?? '';
    const from = rows.filter((row) => tokenOf(row) < token).length;
    const page = perPage > 0 ? rows.slice(from, from + perPage) : rows;
    const next = perPage > 0 ? rows[from + perPage] : undefined;
    const reply = json(
      200,
      this.#lastIndex,
      page.map((row) => shown(row, false)),
    );
    return next === undefined ? reply : { ...reply, headers: { ...reply.headers, 'x-nomad-nexttoken': tokenOf(next) } };
  }

  /** With `index` it waits until the variable has another one; a lock that runs out gives it one. */
  async read(request: Request, path: string, wait: number): Promise<Reply> {
    const key = `${request.query.get('namespace') ?? 'default'}/${path}`;
    const index = Number(request.query.get('index') ?? 0);
    if (index >= 1) await this.#changedSince(key, index, wait);
    this.#expire();
    const row = this.#rows.get(key);
    if (row === undefined) throw new NomadError(404, 'variable not found');
    return json(200, row.ModifyIndex, shown(row, true));
  }

  put(request: Request, path: string): Reply {
    this.#expire();
    const operations = OPERATIONS.filter((name) => request.query.has(name));
    if (operations.length > 1) throw new NomadError(400, 'multiple lock operations');
    const cas = casOf(request);
    if (operations[0] !== undefined && cas !== undefined)
      throw new NomadError(400, "CAS can't be used with lock operations");
    if (typeof request.body !== 'object' || request.body === null) throw new NomadError(400, 'Request body is empty');
    const body = request.body as Body;
    const place = { Namespace: body.Namespace ?? request.query.get('namespace') ?? 'default', Path: path };
    const items = itemsOf(body);
    if (operations[0] === 'lock-renew') return this.#renew(place, body.Lock?.ID ?? '');
    if (operations[0] === 'lock-release') return this.#release(place, body.Lock?.ID ?? '', items);
    if (operations[0] === 'lock-acquire') return this.#acquire(place, body.Lock ?? {}, items ?? {});
    return this.#write(place, items, cas, body.Lock);
  }

  delete(request: Request, path: string): Reply {
    this.#expire();
    const place = { Namespace: request.query.get('namespace') ?? 'default', Path: path };
    const cas = casOf(request);
    const row = this.#rows.get(keyOf(place));
    const refusal = conflictOf(place, row, cas, undefined);
    if (refusal !== undefined) return refusal;
    const index = this.#store.next();
    this.#rows.delete(keyOf(place));
    if (row !== undefined) this.#changed(index);
    return { status: 204, headers: { 'x-nomad-index': String(index) } };
  }

  #write(
    place: Place,
    items: Readonly<Record<string, string>> | undefined,
    cas: number | undefined,
    lock: Body['Lock'],
  ): Reply {
    if (items === undefined || Object.keys(items).length === 0)
      throw new NomadError(400, 'variable missing required Items object');
    if (durationOf(lock?.TTL) !== 0 || durationOf(lock?.LockDelay) !== 0)
      throw wrong('RPC Error:: 400,variable should not contain lock definition');
    check(place, items);
    const row = this.#rows.get(keyOf(place));
    const refusal = conflictOf(place, row, cas, lock?.ID);
    if (refusal !== undefined) return refusal;
    // A write by the holder gives the lock Nomad's default TTL and delay; the timer that runs is not touched.
    const kept = row?.lock && { ...row.lock, TTL: TTL.default, LockDelay: DELAY };
    return this.#stored(this.#put(place, items, kept), true);
  }

  #acquire(place: Place, wanted: NonNullable<Body['Lock']>, items: Readonly<Record<string, string>>): Reply {
    const ttl = durationOf(wanted.TTL) || TTL.default;
    const delay = durationOf(wanted.LockDelay) || DELAY;
    check(place, items);
    checkLock(ttl, delay);
    const row = this.#rows.get(keyOf(place));
    const ID = wanted.ID ?? randomUUID();
    if (row?.lock !== undefined && row.lock.ID !== ID) return { status: 409, body: nothing(place) };
    // The timer of a lock that is acquired again under its ID runs on as it was.
    const freeAt = row?.lock?.freeAt ?? this.#now() + 2 * ttl + delay;
    return this.#stored(this.#put(place, items, { ID, TTL: ttl, LockDelay: delay, freeAt }), true);
  }

  /** Writes nothing: the index stays. Nomad frees a lock only after twice its TTL, and the delay. */
  #renew(place: Place, id: string): Reply {
    if (id === '') throw new NomadError(500, '1 error occurred:\n\t* missing lock ID\n\n');
    const row = this.#rows.get(keyOf(place));
    if (row === undefined) throw new NomadError(404, "variable doesn't exist");
    if (row.lock === undefined) throw new NomadError(409, "variable doesn't hold a lock");
    const inDelay = this.#now() >= row.lock.freeAt - row.lock.LockDelay;
    if (row.lock.ID !== id || inDelay) throw new NomadError(409, 'attempting to modify locked variable');
    row.lock.freeAt = this.#now() + 2 * row.lock.TTL + row.lock.LockDelay;
    return { status: 200, body: shown(row, false) };
  }

  #release(place: Place, id: string, items: Readonly<Record<string, string>> | undefined): Reply {
    if (id === '') throw wrong('missing lock information');
    if (items !== undefined) throw wrong("lock release operation doesn't take variable items");
    const row = this.#rows.get(keyOf(place));
    if (row === undefined) throw new NomadError(500, "variable doesn't exist");
    if (row.lock === undefined) throw new NomadError(500, "variable doesn't hold a lock");
    if (row.lock.ID !== id) return { status: 409, body: nothing(place) };
    return this.#stored(this.#unlock(row), false);
  }

  #unlock(row: Variable): Variable {
    const index = this.#store.next();
    const free = { ...row, lock: undefined, ModifyIndex: index };
    this.#rows.set(keyOf(row), free);
    this.#changed(index);
    return free;
  }

  #put(place: Place, items: Readonly<Record<string, string>>, lock: Lock | undefined): Variable {
    const index = this.#store.next();
    const before = this.#rows.get(keyOf(place));
    const now = this.#now() * 1e6;
    const row = {
      ...place,
      Items: items,
      CreateIndex: before?.CreateIndex ?? index,
      CreateTime: before?.CreateTime ?? now,
      ModifyIndex: index,
      ModifyTime: now,
      lock,
    };
    this.#rows.set(keyOf(place), row);
    this.#changed(index);
    return row;
  }

  #stored(row: Variable, withItems: boolean): Reply {
    return json(200, row.ModifyIndex, shown(row, withItems));
  }

  #expire(): void {
    const now = this.#now();
    for (const row of [...this.#rows.values()]) if (row.lock !== undefined && row.lock.freeAt <= now) this.#unlock(row);
  }

  #changed(index: number): void {
    this.#lastIndex = index;
    for (const wake of [...this.#waiting]) wake();
  }

  #changedSince(key: string, index: number, wait: number): Promise<void> {
    const isChanged = (): boolean => (this.#rows.get(key)?.ModifyIndex ?? this.#lastIndex) > index;
    this.#expire();
    if (isChanged()) return Promise.resolve();
    return new Promise((done) => {
      const free = this.#rows.get(key)?.lock?.freeAt ?? Infinity;
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        done();
      };
      const look = (): void => {
        if (isChanged()) finish();
      };
      const timer = setTimeout(finish, Math.min(wait, Math.max(0, free - this.#now())));
      this.#waiting.add(look);
    });
  }
}

type Place = Pick<Variable, 'Namespace' | 'Path'>;

function keyOf({ Namespace, Path }: Place): string {
  return `${Namespace}/${Path}`;
}

function tokenOf({ Namespace, Path }: Place): string {
  return `${Namespace}.${Path}`;
}

function casOf(request: Request): number | undefined {
  const text = request.query.get('cas') ?? '';
  if (text === '') return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new NomadError(400, `can not parse cas: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
}

function itemsOf({ Items }: Body): Readonly<Record<string, string>> | undefined {
  if (Items === undefined || Items === null) return undefined;
  const odd = Object.values(Items).find((value) => typeof value !== 'string') as unknown;
  if (odd === undefined) return Items as Readonly<Record<string, string>>;
  const found = typeof odd === 'boolean' ? 'bool' : typeof odd === 'number' ? 'number' : 'object';
  throw new NomadError(
    400,
    `json: cannot unmarshal ${found} into Go struct field VariableDecrypted.Items of type string`,
  );
}

function check({ Namespace, Path }: Place, items: Readonly<Record<string, string>>): void {
  if (Namespace === '*') throw wrong('can not target wildcard ("*")namespace');
  const size = Object.entries(items).reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 0);
  if (size > LIMIT) throw wrong('variables are limited to 64KiB in total size');
  if (!PATH.test(Path)) throw wrong(`invalid path ${JSON.stringify(Path)}`);
  const [top, second, ...rest] = Path.split('/');
  if (top !== 'nomad' || second === 'jobs' || second === 'sentinel') return;
  if (second === undefined)
    throw wrong(
      '"nomad" is a reserved top-level directory path, but you may write variables to "nomad/jobs", "nomad/job-templates", "nomad/sentinel", or below',
    );
  if (second === 'job-templates' && rest.length === 1) return;
  if (second === 'job-templates')
    throw wrong(
      '"nomad/job-templates" is a reserved directory path, but you may write variables at the level below it, for example, "nomad/job-templates/template-name"',
    );
  throw wrong(
    'only paths at "nomad/jobs" or "nomad/job-templates" and below are valid paths under the top-level "nomad" directory',
  );
}

function checkLock(ttl: number, delay: number): void {
  const mistakes = [
    ...(ttl < 0 || delay < 0 ? ['Lock delay and TTL must be positive'] : []),
    ...(ttl < TTL.min || ttl > TTL.max ? ['TTL must be between 10 seconds and 24 hours'] : []),
  ];
  if (mistakes.length === 0) return;
  const errors = mistakes.length === 1 ? '1 error' : `${String(mistakes.length)} errors`;
  throw wrong(`${errors} occurred:\n\t* ${mistakes.join('\n\t* ')}\n\n`);
}

/** First the index, whose conflict shows the variable; then the lock, whose conflict shows nothing. */
function conflictOf(
  place: Place,
  row: Variable | undefined,
  cas: number | undefined,
  lockId: string | undefined,
): Reply | undefined {
  if (cas !== undefined && cas !== (row?.ModifyIndex ?? 0))
    return json(409, row?.ModifyIndex ?? 0, row === undefined ? nothing(place) : shown(row, true));
  if (row?.lock !== undefined && row.lock.ID !== lockId) return json(409, 0, nothing(place));
  return undefined;
}

function nothing(place: Place): unknown {
  return { CreateIndex: 0, CreateTime: 0, ModifyIndex: 0, ModifyTime: 0, ...place };
}

function shown({ lock, Items, ...meta }: Variable, withItems: boolean): unknown {
  return {
    ...meta,
    ...(withItems && Object.keys(Items).length > 0 && { Items }),
    ...(lock && { Lock: { ID: lock.ID, TTL: goDuration(lock.TTL), LockDelay: goDuration(lock.LockDelay) } }),
  };
}
