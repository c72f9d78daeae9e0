import { expect } from 'vitest';
import { HOME, until, type Cluster, type Shown } from './cluster.ts';
import { certificateOf, startHaltingProxy } from './halting-proxy.ts';
import { ask, conditionOf } from './kubernetes-objects.ts';
import { Counter, type Boundary, type Hook, type Proxy } from './proxy.ts';
import type { RunningOperator } from './running.ts';

/** Something that is made and deleted again. */
export interface Life {
  /** Manifests. */
  readonly documents: readonly string[];
  /** Where the API server has what they make. */
  readonly paths: readonly string[];
  /** Checks what must be there once all is ready. */
  readonly whole: (because: string) => Promise<void>;
  /** Everything that must be as it was before, afterwards. */
  readonly outside: () => Promise<unknown>;
}

/** Where the operator is killed: at a boundary of one of its writes, counted from when something is made or deleted. */
interface Spot {
  readonly index: number;
  readonly phase: Boundary['phase'];
}

const PHASES = ['before', 'after'] as const;

/** An operator that reaches its servers through proxies, and is killed at the writes of what it does. */
export class KubernetesCrashRig {
  readonly #cluster: Cluster;
  readonly #counter = new Counter();
  readonly #proxies: Proxy[] = [];
  #hook: Hook = () => 'pass';
  #operator: RunningOperator | undefined;
  #seen: string[] = [];
  #kills = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** With the connections named `default`. */
  async start(): Promise<void> {
    const { kubernetes, nomad, vault } = this.#cluster;
    const front = { counter: this.#counter, hook: () => this.#hook };
    this.#proxies.push(
      await startHaltingProxy({ ...front, target: kubernetes.address, tls: certificateOf(kubernetes) }),
      await startHaltingProxy({ ...front, target: nomad.address }),
      await startHaltingProxy({ ...front, target: vault.address }),
    );
    await this.#cluster.connect({ nomad: this.#proxies[1]?.address ?? '', vault: this.#proxies[2]?.address ?? '' });
    await this.#run();
  }

  async stop(): Promise<void> {
    this.#operator?.kill('SIGKILL');
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }

  /**
   * Goes through a life for each boundary of each write in it, with a SIGKILL there, and checks how it came out.
   * @returns the writes in a life that nobody disturbs.
   */
  async killEverywhere(life: Life): Promise<readonly string[]> {
    await this.#live(life, undefined, undefined);
    this.#seen = [];
    const { made, ended } = await this.#live(life, undefined, undefined);
    const seen = [...this.#seen];
    this.#kills = 0;
    for (let index = 1; index <= Math.max(made, ended); index++)
      for (const phase of PHASES)
        await this.#live(
          life,
          index <= made ? { index, phase } : undefined,
          index <= ended ? { index, phase } : undefined,
        );
    // How many writes there are depends a little on which of them are answered first.
    expect(this.#kills).toBeGreaterThan(1.5 * (made + ended));
    return seen;
  }

  /** The same, but what is being made when the operator is killed is deleted before another one starts. */
  async killAndDeleteEverywhere(life: Life): Promise<void> {
    const { made } = await this.#live(life, undefined, undefined);
    const before = await life.outside();
    const spots = Array.from({ length: made }, (_, i) => PHASES.map((phase) => ({ index: i + 1, phase }))).flat();
    this.#kills = 0;
    for (const spot of spots) {
      const because = `killed at ${JSON.stringify(spot)}, and deleted`;
      const isKilled = await this.#killAt(
        spot,
        () => this.#cluster.apply(...life.documents),
        () => this.#areReady(life),
      );
      await this.#delete(life);
      if (isKilled) await this.#again();
      await until(`all is gone: ${because}`, async () =>
        (await this.#areGone(life)) && (await this.#recorded()).length === 0 ? true : undefined,
      );
      expect(await life.outside(), because).toEqual(before);
    }
    expect(this.#kills).toBeGreaterThan(0.75 * spots.length);
  }

  /** @returns how many writes there were, where nobody was killed. */
  async #live(life: Life, first: Spot | undefined, last: Spot | undefined): Promise<{ made: number; ended: number }> {
    const because = `killed at ${JSON.stringify([first, last])}`;
    const before = await life.outside();
    await this.#killedAt(
      first,
      () => this.#cluster.apply(...life.documents),
      () => this.#areReady(life),
    );
    const made = this.#counter.requests;
    await life.whole(because);
    await this.#killedAt(
      last,
      () => this.#delete(life),
      () => this.#areGone(life),
    );
    expect(await life.outside(), because).toEqual(before);
    expect(await this.#recorded(), because).toEqual([]);
    return { made, ended: this.#counter.requests };
  }

  /** Does something that makes the operator write, kills it at a spot, if there is one, and lets another one end it. */
  async #killedAt(spot: Spot | undefined, act: () => Promise<unknown>, isDone: () => Promise<boolean>): Promise<void> {
    if (!(await this.#killAt(spot, act, isDone))) return;
    await this.#again();
    await until('it has come to an end', async () => ((await isDone()) ? true : undefined));
  }

  /** @returns whether it came to that spot before all was done. */
  async #killAt(spot: Spot | undefined, act: () => Promise<unknown>, isDone: () => Promise<boolean>): Promise<boolean> {
    const at = { killed: false };
    this.#counter.requests = 0;
    this.#hook = ({ index, phase, method, path }) => {
      if (at.killed) return 'cut';
      if (phase === 'before') this.#seen.push(`${method} ${path.replace(/\?.*/, '')}`);
      if (index !== spot?.index || phase !== spot.phase) return 'pass';
      at.killed = true;
      this.#operator?.kill('SIGKILL');
      return 'cut';
    };
    await act();
    await until('it was killed, or came to an end', async () => (at.killed || (await isDone()) ? true : undefined));
    this.#hook = () => 'pass';
    if (!at.killed) return false;
    this.#kills++;
    await this.#operator?.ended;
    return true;
  }

  /** Another operator, as if the time of the lease of the one before had passed. */
  async #again(): Promise<void> {
    await ask(this.#cluster, 'DELETE', `/apis/coordination.k8s.io/v1/namespaces/${HOME}/leases/nomad-access-default`);
    await this.#run();
  }

  #delete({ paths }: Life): Promise<unknown> {
    return Promise.all(paths.map((path) => ask(this.#cluster, 'DELETE', path)));
  }

  async #areReady(life: Life): Promise<boolean> {
    return (await this.#found(life)).every(({ body }) => conditionOf(body as Shown)?.status === 'True');
  }

  async #areGone(life: Life): Promise<boolean> {
    return (await this.#found(life)).every(({ status }) => status === 404);
  }

  async #run(): Promise<void> {
    this.#operator = await this.#cluster.operator([], { kubernetes: this.#proxies[0]?.address ?? '' });
  }

  #found({ paths }: Life): Promise<{ status: number; body: unknown }[]> {
    return Promise.all(paths.map((path) => ask(this.#cluster, 'GET', path)));
  }

  /** The entries of the inventory. */
  async #recorded(): Promise<string[]> {
    const { body } = await ask(this.#cluster, 'GET', `/api/v1/namespaces/${HOME}/configmaps`);
    const { items } = body as { items: { metadata: { name: string }; data?: Record<string, string> }[] };
    const pages = items.filter(({ metadata }) => /^nomad-access-default-inventory-\d+$/.test(metadata.name));
    return pages.flatMap(({ data = {} }) => Object.values(data));
  }
}
