import { describe, expect, it } from 'vitest';
import type { BootstrapReply, NomadTokens, TokenPlace } from '../../src/contract/credential.ts';
import { bootstrapped, type Bootstrapped } from '../../src/credentials/bootstrap.ts';
import { Random } from '../faults/random.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const { signal } = new AbortController();

/** A Nomad and a place of whose answers each takes another time. */
class World {
  readonly #random: Random;
  inPlace: string | undefined;
  inNomad: string | undefined;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  async #soon<T>(answer: () => T): Promise<T> {
    await this.#ticks();
    const said = answer();
    await this.#ticks();
    return said;
  }

  async #ticks(): Promise<void> {
    for (let left = this.#random.below(this.#random.chance(0.1) ? 60 : 4); left > 0; left--) await Promise.resolve();
  }

  #bootstrap(secretId: string): BootstrapReply {
    if (this.inNomad !== undefined) return 'done before';
    if (!UUID.test(secretId)) return 'invalid';
    this.inNomad = secretId;
    return 'done';
  }

  #create(token: string): boolean {
    const isFree = this.inPlace === undefined;
    if (isFree) this.inPlace = token;
    return isFree;
  }

  readonly nomad: NomadTokens = {
    bootstrap: (secretId) => this.#soon(() => this.#bootstrap(secretId)),
    lookup: (token) => this.#soon(() => (token === this.inNomad ? { accessorId: 'first' } : undefined)),
    arrived: () => this.#soon(() => undefined),
    login: () => Promise.reject(new Error('no login')),
    remove: () => Promise.reject(new Error('nothing to remove')),
    close: () => Promise.resolve(),
  };
  readonly place: TokenPlace = {
    name: 'the place',
    read: () => this.#soon(() => this.inPlace),
    create: (token) => this.#soon(() => this.#create(token)),
  };

  readonly bootstrapped = (): Promise<Bootstrapped> => bootstrapped({ nomad: this.nomad, place: this.place, signal });
}

describe('the first management token of a cluster', () => {
  it('of several that make it at once one does, and all get the same', async () => {
    for (let seed = 1; seed <= 500; seed++) {
      const world = new World(seed);
      const all = await Promise.all(Array.from({ length: 3 }, world.bootstrapped));
      expect(new Set(all.map(({ token }) => token)), `seed ${String(seed)}`).toEqual(new Set([world.inNomad]));
      expect(all.filter(({ isNew }) => isNew)).toHaveLength(1);
      expect(world.inPlace).toBe(world.inNomad);
    }
  });

  it('where it is made and lies nowhere, it is asked for', async () => {
    const world = new World(1);
    world.inNomad = 'somewhere else';
    await expect(world.bootstrapped()).rejects.toMatchObject({
      class: 'denied',
      message: expect.stringContaining(
        "Nomad's ACLs are bootstrapped already, and there is nothing in the place",
      ) as string,
    });
    expect(world.inPlace).toBeUndefined();
  });
});
