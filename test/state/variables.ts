import { createHash } from 'node:crypto';
import { TargetError } from '../../src/contract/errors.ts';
import type { Inventory, InventoryChange } from '../../src/contract/state.ts';
import type { VariablesApi } from '../../src/contract/variables.ts';
import { keyText, type Owned } from '../../src/plan/step.ts';
import { NomadSandbox } from '../../src/sandbox/index.ts';
import type { Waiting } from '../../src/contract/clock.ts';
import { NomadClient } from '../../src/targets/nomad/client.ts';
import { NomadVariables } from '../../src/targets/nomad/variables.ts';
import { owned } from '../plan/objects.ts';

/** A Nomad whose clock stands still until it is moved, and its Variables asked without a network in between. */
export class StillNomad {
  now = 0;
  readonly sandbox = new NomadSandbox(() => this.now);
  readonly token = this.sandbox.acl.bootstrap('00000000-0000-0000-0000-000000000001').SecretID;
  readonly api: VariablesApi;

  constructor() {
    const ask = async (method: string, path: string, query: object | undefined, body: unknown): Promise<Response> => {
      const given = Object.entries((query ?? {}) as Record<string, unknown>);
      const reply = await this.sandbox.handle({
        method,
        path,
        query: new URLSearchParams(Object.fromEntries(given.map(([k, v]) => [k, String(v)]))),
        headers: { 'x-nomad-token': this.token },
        // Through text, as over a wire: nothing is shared with the sandbox.
        body: body === undefined ? undefined : (JSON.parse(JSON.stringify(body)) as unknown),
      });
      const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body ?? '');
      return { status: reply.status, text };
    };
    this.api = new NomadVariables({
      get: async <T>(path: string, query?: object) => {
        const { status, text } = await ask('GET', path, query, undefined);
        return status === 404 ? undefined : { body: JSON.parse(text) as T, index: 0 };
      },
      list: async <T>(path: string, query?: object) => ({
        items: JSON.parse((await ask('GET', path, query, undefined)).text) as readonly T[],
        index: 0,
      }),
      request: async (method, path, query, body, { expect }) => {
        const { status, text } = await ask(method, path, query, body);
        if (!expect.includes(status)) throw new TargetError(text, { class: 'terminal', status });
        return { status, text, headers: {} };
      },
    });
  }

  /** Names of all variables. */
  paths(): Promise<readonly string[]> {
    return this.api.list('default', '');
  }
}

interface Response {
  readonly status: number;
  readonly text: string;
}

export function httpVariables(server: { address: string; token: string }): { api: VariablesApi; client: NomadClient } {
  const retry = { retries: 3, minTimeout: 5, maxTimeout: 50 };
  const client = new NomadClient({ ...server, maxConnections: 32, retry });
  return { api: new NomadVariables(client), client };
}

/** Pauses take no time. */
export const hurried: Waiting = { monotonic: () => performance.now(), sleep: () => Promise.resolve() };

/** What happens to one request: it is lost, its reply is lost, or it arrives after everything else. */
export type Fault = 'request lost' | 'reply lost' | 'delayed';

export class Faulty<Api extends object = VariablesApi> {
  requests = 0;
  readonly #late: (() => Promise<unknown>)[] = [];

  constructor(
    readonly fault: (request: number, name: keyof Api) => Fault | undefined,
    private readonly real: Api,
  ) {}

  readonly api: Api = new Proxy({} as Api, {
    get:
      (_target, key) =>
      (...args: unknown[]) => {
        const name = key as keyof Api;
        const call = this.real[name] as (...args: unknown[]) => Promise<unknown>;
        return this.#call(name, () => call.apply(this.real, args));
      },
  });

  /** What was delayed arrives. */
  async arrive(): Promise<void> {
    for (const call of this.#late.splice(0)) await call().catch(() => undefined);
  }

  async #call(name: keyof Api, call: () => Promise<unknown>): Promise<unknown> {
    const fault = this.fault(++this.requests, name);
    if (fault === undefined) return call();
    if (fault === 'reply lost') await call();
    if (fault === 'delayed') this.#late.push(call);
    throw new TargetError(fault, { class: 'transient', ambiguous: true });
  }
}

let made = 0;

/** An entry that is like no other, and compresses by little: `bytes` of it are noise. */
export function entry(name: string, bytes = 20): Owned {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, i) => digest(`${String(++made)} ${String(i)}`));
  return owned({
    key: { connection: 'default', type: 'acl-token', name },
    resource: { kind: 'AclToken', namespace: 'default', name },
    source: `manifests/${name}.yaml`,
    detail: { noise: Buffer.concat(blocks).subarray(0, bytes).toString('base64') },
  });
}

export function inventoryOf(objects: readonly Owned[], over: Partial<Inventory> = {}): Inventory {
  return { version: 1, owner: 'default', connections: [], objects, ...over };
}

/** A save of this inventory, of which just these objects are not saved yet. */
export function changeOf({ objects, ...head }: Inventory, keys: ReadonlySet<string>): InventoryChange {
  const byKey = new Map(objects.map((o) => [keyText(o.key), o]));
  return { head, changed: new Map([...keys].map((key) => [key, byKey.get(key)])), objects: () => objects };
}

export function keysOf(objects: readonly Owned[]): Set<string> {
  return new Set(objects.map((o) => keyText(o.key)));
}

/** Digests of the objects by key, short enough to be read where they differ. */
export function digestsOf(objects: readonly Owned[] = []): Record<string, string> {
  return Object.fromEntries(objects.map((o) => [keyText(o.key), digestOf(o)]));
}

export function digestOf(object: Owned): string {
  const sorted = Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1));
  return digest(JSON.stringify(sorted)).toString('hex').slice(0, 8);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** What passes for all processes alike; milliseconds. */
export interface Time {
  now: number;
}

/** The time of one process, which passes only when the test says so. The process can be stopped, as by SIGSTOP. */
export class StillClock implements Waiting {
  #isStopped = false;
  #waiting: (() => void)[] = [];
  #timers: { readonly at: number; readonly ring: () => void }[] = [];

  constructor(private readonly time: Time) {}

  get isStopped(): boolean {
    return this.#isStopped;
  }

  set isStopped(stopped: boolean) {
    this.#isStopped = stopped;
    if (!stopped) for (const goOn of this.#waiting.splice(0)) goOn();
  }

  /** The API as this process has it: while it is stopped it learns of no reply. */
  hears<Api extends object>(api: Api): Api {
    const running = (): Promise<void> =>
      this.#isStopped ? new Promise((done) => this.#waiting.push(done)) : Promise.resolve();
    return new Proxy(api, {
      get:
        (_target, name) =>
        (...args: unknown[]) =>
          (api[name as keyof Api] as (...args: unknown[]) => Promise<unknown>)(...args).finally(running),
    });
  }

  monotonic(): number {
    return this.time.now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((done, fail) => {
      const stop = (): void => {
        this.#timers = this.#timers.filter((t) => t !== timer);
        fail(signal?.reason as Error);
      };
      const ring = (): void => {
        signal?.removeEventListener('abort', stop);
        done();
      };
      const timer = { at: this.time.now + ms, ring };
      this.#timers.push(timer);
      signal?.addEventListener('abort', stop);
    });
  }

  /** @returns when the next timer is due. */
  get next(): number {
    return this.isStopped ? Infinity : Math.min(Infinity, ...this.#timers.map((t) => t.at));
  }

  ring(): void {
    if (this.isStopped) return;
    const due = this.#timers.filter((t) => t.at <= this.time.now);
    this.#timers = this.#timers.filter((t) => t.at > this.time.now);
    for (const { ring } of due) ring();
  }
}

/** Everything that can happen without time passing has happened. Nothing in these tests waits for more than promises. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((done) => setImmediate(done));
}

/** Lets time pass, timer by timer. @param look is called after each. */
export async function pass(
  time: Time,
  ms: number,
  clocks: readonly StillClock[],
  look: () => void = () => undefined,
): Promise<void> {
  const end = time.now + ms;
  for (;;) {
    await settled();
    look();
    const next = Math.min(...clocks.map((clock) => clock.next));
    time.now = Math.max(time.now, Math.min(next, end));
    for (const clock of clocks) clock.ring();
    if (next > end) break;
  }
  await settled();
  look();
}
